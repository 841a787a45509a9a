//! `fedlol`: clients weighted by their mean local loss, the lower the more ([`LossMean`] has the formula). A client whose loss
//! is not known counts as one of `n` clients does in the plain mean; one whose loss is infinite or negative is refused.

use cellm_plugin::mean::LossMean;
use cellm_plugin::{
    Aggregator, Capabilities, Description, Exported, Layout, Options, Policy, PolicyError, RoundInfo, UpdateInfo,
    Vector,
};

/// The mean of the round.
#[derive(Default)]
pub struct FedLol(LossMean);

impl Policy for FedLol {
    fn describe() -> Description {
        Description {
            name: "fedlol".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            about: "The mean of the updates, each weighted by the sum of the other clients' losses.".into(),
            capabilities: Capabilities::NEEDS_LOSS,
            options: Vec::new(),
        }
    }
}

impl Aggregator for FedLol {
    fn new(_: Layout, _: &Options) -> Result<Self, PolicyError> {
        Ok(Self::default())
    }

    fn begin(&mut self, _: &RoundInfo, _: &Vector) -> Result<(), PolicyError> {
        *self = Self::default();
        Ok(())
    }

    fn accept(&mut self, update: &Vector, info: &UpdateInfo) -> Result<(), PolicyError> {
        self.0.add(info.loss, update)
    }

    fn finish(&mut self) -> Result<Vector, PolicyError> {
        self.0.take()
    }
}

type Component = Exported<FedLol>;
cellm_plugin::export_aggregator!(Component);

#[cfg(test)]
mod tests;
