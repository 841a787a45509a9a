//! `hetlora`: zero-padded aggregation of adapters of several ranks, weighted by norm (Cho, Liu, Xu, Fahrezi, Joshi 2024,
//! "Heterogeneous LoRA for Federated Fine-tuning of On-Device Foundation Models", arXiv 2401.06432, sparsity-weighted
//! aggregation). Client `i` of tier rank `r_i` has trained the first `r_i` rows of A and columns of B, so it ended with
//! `A_i = (base + update)[..r_i, :]` and `B_i = (base + update)[:, ..r_i]`. In each layer it weighs `S_i = ||B_i A_i||_F`:
//!
//! `A = sum of S_i pad(A_i) / sum of S_i`, and B likewise; `pad` fills with zeros up to the whole rank.
//!
//! So in the paper a direction that only some clients have is diluted by the zeros of the others: it shrinks by the weight of
//! those without it. The weights by norm lessen this and do not end it. `absent = "zero"` is the paper's way;
//! `absent = "skip"` takes the mean of each direction over those that have it. Either way a direction that nobody in the
//! cohort has keeps its value, where zeros would end it for good (A and B of a direction that are both zero have no gradient).
//!
//! The norms come from `r x r` matrices; nothing of `out x in` is made. Other tensors get the plain mean. With equal ranks and
//! uniform weighting this is `fedavg`.

mod layer;

use cellm_plugin::mean::Mean;
use cellm_plugin::pairs::{Pair, pairs};
use cellm_plugin::{
    Aggregator, Capabilities, Description, Exported, Layout, Options, Policy, PolicyError, RoundInfo, UpdateInfo,
    Vector, option,
};
use layer::LayerSum;

/// A layer in which every `B_i A_i` is zero is weighted uniformly: no weight is below this, and none is infinite.
const LEAST_WEIGHT: f64 = 1e-12;

/// The options and the sums of the round.
pub struct HetLora {
    pairs: Vec<Pair>,
    by_norm: bool,
    zero_absent: bool,
    base: Option<Vector>,
    layers: Vec<LayerSum>,
    plain: Mean,
}

impl Policy for HetLora {
    fn describe() -> Description {
        let weighting =
            "`norm` weighs a client by the Frobenius norm of its B A in each layer, `uniform` counts each once.";
        let absent =
            "What a client counts as in a direction above its rank: `zero` as in the paper, `skip` not at all.";
        Description {
            name: "hetlora".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            about: "The mean of adapters of several ranks, padded with zeros and weighted by the norm of B A.".into(),
            capabilities: Capabilities::empty(),
            options: vec![
                option::choice("weighting", &["norm", "uniform"], weighting),
                option::choice("absent", &["zero", "skip"], absent),
            ],
        }
    }
}

impl Aggregator for HetLora {
    fn new(layout: Layout, options: &Options) -> Result<Self, PolicyError> {
        let (by_norm, zero_absent) = (options.text("weighting")? == "norm", options.text("absent")? == "zero");
        let (base, layers, plain) = (None, Vec::new(), Mean::default());
        Ok(Self { pairs: pairs(&layout)?, by_norm, zero_absent, base, layers, plain })
    }

    fn begin(&mut self, _: &RoundInfo, base: &Vector) -> Result<(), PolicyError> {
        self.base = Some(base.copy());
        self.layers = self.pairs.iter().map(LayerSum::new).collect();
        self.plain = Mean::default();
        Ok(())
    }

    fn accept(&mut self, update: &Vector, info: &UpdateInfo) -> Result<(), PolicyError> {
        let end = self.base.as_ref().ok_or(PolicyError::NoUpdates)?.copy();
        end.axpy(1.0, update);
        for (pair, layer) in self.pairs.iter().zip(&mut self.layers) {
            let directions = pair.trained(info.rank);
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

type Component = Exported<HetLora>;
cellm_plugin::export_aggregator!(Component);

#[cfg(test)]
mod tests;
