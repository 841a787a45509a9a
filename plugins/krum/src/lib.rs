//! `krum`: the updates that lie closest to the others (Blanchard, El Mhamdi, Guerraoui, Stainer 2017, "Machine Learning with
//! Adversaries: Byzantine Tolerant Gradient Descent"). Of `n` updates, `f` of them bad, each is scored by the sum of its
//! squared distances to its `n - f - 2` nearest neighbours: `s(i) = sum over the nearest j of ||u_i - u_j||^2`. The result
//! is the mean of the `multi` updates of the lowest scores (Krum for 1, Multi-Krum above); of equal scores the earlier
//! update is taken. The guarantee needs `n >= 2 f + 3`: fewer are an error.
//!
//! Every client counts once. Distances cost `n (n - 1) / 2` passes over the updates.

mod score;

use cellm_plugin::mean::Mean;
use cellm_plugin::{
    Aggregator, Capabilities, Description, Exported, Layout, Options, Policy, PolicyError, RoundInfo, UpdateInfo,
    Vector, bad_option, option,
};

/// The options and the updates of the round.
pub struct Krum {
    byzantine: usize,
    multi: usize,
    held: Vec<Vector>,
}

impl Policy for Krum {
    fn describe() -> Description {
        Description {
            name: "krum".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            about:
                "The update, or the mean of several, that lies closest to the others: withstands `byzantine` bad ones."
                    .into(),
            capabilities: Capabilities::HOLDS_UPDATES,
            options: vec![
                option::count(
                    "byzantine",
                    1,
                    "How many bad updates a round is to withstand; 2 f + 3 updates are needed for f.",
                ),
                option::count("multi", 1, "How many of the best updates are averaged: 1 is Krum, more Multi-Krum."),
            ],
        }
    }
}

impl Aggregator for Krum {
    fn new(_: Layout, options: &Options) -> Result<Self, PolicyError> {
        let (byzantine, multi) = (options.count("byzantine")?, options.count("multi")?);
        if multi == 0 {
            return Err(bad_option("multi", multi, "at least 1"));
        }
        Ok(Self { byzantine: byzantine as usize, multi: multi as usize, held: Vec::new() })
    }

    fn begin(&mut self, round: &RoundInfo, _: &Vector) -> Result<(), PolicyError> {
        self.held.clear();
        // A cohort that is too small is known before anybody trains.
        self.enough(round.cohort as usize, "were sampled")
    }

    fn accept(&mut self, update: &Vector, _: &UpdateInfo) -> Result<(), PolicyError> {
        self.held.push(update.copy());
        Ok(())
    }

    fn finish(&mut self) -> Result<Vector, PolicyError> {
        let held = std::mem::take(&mut self.held);
        if held.is_empty() {
            return Err(PolicyError::NoUpdates);
        }
        self.enough(held.len(), "came")?;
        let scores = score::scores(&distances(&held), held.len() - self.byzantine - 2);
        let finite = scores.iter().filter(|score| score.is_finite()).count();
        if finite < self.multi {
            let (found, neighbours, multi) = (held.len(), held.len() - self.byzantine - 2, self.multi);
            return Err(PolicyError::Other(format!(
                "{finite} of {found} updates lie at a finite distance from {neighbours} others, multi asks for {multi}"
            )));
        }
        let mut mean = Mean::default();
        score::lowest(&scores, self.multi).into_iter().for_each(|chosen| mean.add(1.0, &held[chosen]));
        mean.take()
    }
}

impl Krum {
    fn enough(&self, found: usize, happened: &str) -> Result<(), PolicyError> {
        let (byzantine, multi) = (self.byzantine, self.multi);
        let needed = byzantine.saturating_mul(2).saturating_add(3).max(multi.saturating_add(byzantine));
        if found >= needed {
            return Ok(());
        }
        Err(PolicyError::Other(format!(
            "{found} clients {happened}, krum with byzantine {byzantine} and multi {multi} needs at least {needed}"
        )))
    }
}

/// Distances between all updates; row by row, the diagonal is zero.
fn distances(held: &[Vector]) -> Vec<Vec<f64>> {
    let mut rows = vec![vec![0.0; held.len()]; held.len()];
    for i in 0..held.len() {
        for j in 0..i {
            let distance = held[i].distance(&held[j]);
            rows[i][j] = distance;
            rows[j][i] = distance;
        }
    }
    rows
}

type Component = Exported<Krum>;
cellm_plugin::export_aggregator!(Component);

#[cfg(test)]
mod tests;
