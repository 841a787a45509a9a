//! The server's side: sums of what the cohort ended with, layer by layer.

use cellm_plugin::mean::Mean;
use cellm_plugin::pairs::{Pair, pairs};
use cellm_plugin::{Aggregator, Layout, Options, PolicyError, RoundInfo, UpdateInfo, Vector};

use crate::HetLora;
use crate::layer::LayerSum;

/// A layer in which every `B_i A_i` is zero is weighted uniformly: no weight is below this, and none is infinite.
const LEAST_WEIGHT: f64 = 1e-12;

/// The options and the sums of the round.
pub struct Server {
    pairs: Vec<Pair>,
    by_norm: bool,
    zero_absent: bool,
    base: Option<Vector>,
    layers: Vec<LayerSum>,
    plain: Mean,
}

impl Server {
    fn begin(&mut self, base: &Vector) {
        self.base = Some(base.copy());
        self.layers = self.pairs.iter().map(LayerSum::new).collect();
        self.plain = Mean::default();
    }

    fn accept(&mut self, update: &Vector, rank: u32) -> Result<(), PolicyError> {
        let end = self.base.as_ref().ok_or(PolicyError::NoUpdates)?.copy();
        end.axpy(1.0, update);
        for (pair, layer) in self.pairs.iter().zip(&mut self.layers) {
            let directions = pair.trained(rank);
            let norm = if self.by_norm { pair.product_norm(&end, directions) } else { 1.0 };
            let weight = if norm.is_finite() { norm.max(LEAST_WEIGHT) } else { LEAST_WEIGHT };
            layer.add(pair, update, directions, weight);
        }
        self.plain.add(1.0, update);
        Ok(())
    }

    fn finish(&mut self) -> Result<Vector, PolicyError> {
        let aggregate = self.plain.take()?;
        let base = self.base.take().ok_or(PolicyError::NoUpdates)?;
        for (pair, layer) in self.pairs.iter().zip(self.layers.drain(..)) {
            layer.put(pair, &base, self.zero_absent, &aggregate);
        }
        Ok(aggregate)
    }
}

impl Aggregator for HetLora {
    fn new(layout: Layout, options: &Options) -> Result<Self, PolicyError> {
        let (by_norm, zero_absent) = (options.text("weighting")? == "norm", options.text("absent")? == "zero");
        let (base, layers, plain) = (None, Vec::new(), Mean::default());
        Ok(Self::Server(Server { pairs: pairs(&layout)?, by_norm, zero_absent, base, layers, plain }))
    }

    fn begin(&mut self, _: &RoundInfo, base: &Vector) -> Result<(), PolicyError> {
        self.server()?.begin(base);
        Ok(())
    }

    fn accept(&mut self, update: &Vector, info: &UpdateInfo) -> Result<(), PolicyError> {
        self.server()?.accept(update, info.rank)
    }

    fn finish(&mut self) -> Result<Vector, PolicyError> {
        self.server()?.finish()
    }
}
