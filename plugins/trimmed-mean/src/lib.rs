//! `trimmed-mean`: the mean of each coordinate without its smallest and largest values (Yin, Chen, Ramchandran, Bartlett
//! 2018, "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates", Alg. 1, option II):
//! with `c = ceil(trim * n)`, `G[j]` is the mean of `u_(c+1)[j] <= ... <= u_(n-c)[j]`, the sorted values without `c` at each
//! end. The share is rounded up, so that at least one update is cut at each end however small the cohort.
//!
//! Up to `c` bad updates cannot move a coordinate beyond what honest ones sent. Every client counts once. An upload that
//! leaves coordinates out counts as zero there: use it with `upload.policy = "dense"`, or with one in which all send the
//! same coordinates.

use cellm_plugin::{
    Aggregator, Capabilities, Description, Exported, Layout, Options, Policy, PolicyError, RoundInfo, UpdateInfo,
    Vector, bad_option, option,
};

/// The option and the updates of the round.
pub struct TrimmedMean {
    trim: f64,
    held: Vec<Vector>,
}

impl Policy for TrimmedMean {
    fn describe() -> Description {
        let about = "Share of the cohort that is cut at each end of every coordinate, rounded up; below one half.";
        Description {
            name: "trimmed-mean".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            about: "The mean of each coordinate without its extremes: withstands as many bad updates as it cuts."
                .into(),
            capabilities: Capabilities::HOLDS_UPDATES,
            options: vec![option::share("trim", 0.2, about)],
        }
    }
}

impl Aggregator for TrimmedMean {
    fn new(_: Layout, options: &Options) -> Result<Self, PolicyError> {
        let trim = options.number("trim")?;
        if trim >= 0.5 {
            return Err(bad_option("trim", trim, "below 0.5, so that something is left between the two ends"));
        }
        Ok(Self { trim, held: Vec::new() })
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
        let cut = cut(self.trim, held.len());
        if 2 * cut >= held.len() {
            let (found, trim) = (held.len(), self.trim);
            return Err(PolicyError::Other(format!(
                "{found} updates came, but trim {trim} cuts {cut} at each end and needs at least {}",
                2 * cut + 1
            )));
        }
        Ok(Vector::trimmed_mean(&held.iter().collect::<Vec<_>>(), cut as u32))
    }
}

/// Number of `updates` that are cut at each end. The small number keeps a product like 0.07 * 100, which comes out above 7, at 7.
fn cut(trim: f64, updates: usize) -> usize {
    (trim * updates as f64 - 1e-9).ceil() as usize
}

type Component = Exported<TrimmedMean>;
cellm_plugin::export_aggregator!(Component);

#[cfg(test)]
mod tests;
