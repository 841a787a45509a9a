//! `median`: the median of each coordinate over the cohort's updates (Yin, Chen, Ramchandran, Bartlett 2018,
//! "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates", Alg. 1, option I):
//! `G[j] = median(u_1[j], ..., u_n[j])`, of an even number the mean of the two in the middle.
//!
//! A minority of updates cannot move a coordinate beyond what honest ones sent. Every client counts once. An upload that
//! leaves coordinates out counts as zero there, so what fewer than half of the cohort send stays as it is: use it with
//! `upload.policy = "dense"`, or with one in which all send the same coordinates.

use cellm_plugin::{
    Aggregator, Capabilities, Description, Exported, Layout, Options, Policy, PolicyError, RoundInfo, UpdateInfo,
    Vector,
};

/// The updates of the round.
pub struct Median {
    held: Vec<Vector>,
}

impl Policy for Median {
    fn describe() -> Description {
        Description {
            name: "median".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            about: "The median of each coordinate: withstands a minority of bad updates, whatever they hold.".into(),
            capabilities: Capabilities::HOLDS_UPDATES,
            options: Vec::new(),
        }
    }
}

impl Aggregator for Median {
    fn new(_: Layout, _: &Options) -> Result<Self, PolicyError> {
        Ok(Self { held: Vec::new() })
    }

    fn begin(&mut self, _: &RoundInfo, _: &Vector) -> Result<(), PolicyError> {
        self.held.clear();
        Ok(())
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
        Ok(Vector::median(&held.iter().collect::<Vec<_>>()))
    }
}

type Component = Exported<Median>;
cellm_plugin::export_aggregator!(Component);

#[cfg(test)]
mod tests;
