//! `fedex`: exact aggregation with a residual in the base weights (Singhal, Ponkshe, Vepakomma 2024, "FedEx-LoRA: Exact
//! Aggregation for Federated and Efficient Fine-Tuning of Foundation Models", arXiv 2410.09432). Client `i` ended with
//! `A_i`, `B_i`; the mean of products is not the product of means, so with weights `w_i` that sum to 1
//!
//! `A = sum of w_i A_i`, `B = sum of w_i B_i`, `residual += scale (sum of w_i B_i A_i - B A)`:
//!
//! `residual + scale B A` is the exact mean of what the clients' layers became. The residual is a tensor of role `base` beside
//! each pair, which `lora.residual = true` puts into the layout.
//!
//! Its rank is up to the cohort's summed ranks, so the download grows by the layer's own size: this is for comparison and for
//! short runs, not for saving bytes. The step is `W + G`, taken here: exact for no other (`server.optimizer` has no say). Other
//! tensors get the mean. One sum of `P` values, whatever the cohort.

use cellm_plugin::mean::{Mean, Weighting};
use cellm_plugin::pairs::{Pair, pairs, residuals};
use cellm_plugin::{
    Aggregator, Capabilities, Description, Exported, Layout, Options, Policy, PolicyError, RoundInfo, Stepping,
    UpdateInfo, Vector,
};

/// The option and the sums of the round.
pub struct FedEx {
    pairs: Vec<Pair>,
    weighting: Weighting,
    base: Option<Vector>,
    plain: Mean,
    /// For each pair the mean of `scale B_i A_i`.
    products: Vec<Mean>,
}

impl Policy for FedEx {
    fn describe() -> Description {
        Description {
            name: "fedex".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            about:
                "A and B are averaged; what their product lacks to the mean product goes into the base weights. Needs \
                    lora.residual = true."
                    .into(),
            capabilities: Capabilities::empty(),
            options: vec![Weighting::option()],
        }
    }
}

impl Aggregator for FedEx {
    fn new(layout: Layout, options: &Options) -> Result<Self, PolicyError> {
        let pairs = pairs(&layout)?;
        residuals("fedex", &pairs)?;
        Ok(Self { pairs, weighting: Weighting::of(options)?, base: None, plain: Mean::default(), products: Vec::new() })
    }

    fn begin(&mut self, _: &RoundInfo, base: &Vector) -> Result<(), PolicyError> {
        self.base = Some(base.copy());
        self.plain = Mean::default();
        self.products = self.pairs.iter().map(|_| Mean::default()).collect();
        Ok(())
    }

    fn accept(&mut self, update: &Vector, info: &UpdateInfo) -> Result<(), PolicyError> {
        let end = self.base.as_ref().ok_or(PolicyError::NoUpdates)?.copy();
        end.axpy(1.0, update);
        let weight = self.weighting.weight(info);
        for (pair, products) in self.pairs.iter().zip(&mut self.products) {
            products.add(weight, &pair.product(&end));
        }
        self.plain.add(weight, update);
        Ok(())
    }

    fn finish(&mut self) -> Result<Vector, PolicyError> {
        let aggregate = self.plain.take()?;
        let end = self.base.take().ok_or(PolicyError::NoUpdates)?;
        end.axpy(1.0, &aggregate);
        for (pair, products) in self.pairs.iter().zip(&mut self.products) {
            let residual = products.take()?;
            residual.axpy(-1.0, &pair.product(&end));
            if let Some(place) = pair.residual {
                place.add(&aggregate, 1.0, &residual);
            }
        }
        Ok(aggregate)
    }
}

impl Stepping for FedEx {
    fn step(&mut self, _: u32, weights: &Vector, aggregate: &Vector) -> Result<Vector, PolicyError> {
        let next = weights.copy();
        next.axpy(1.0, aggregate);
        Ok(next)
    }
}

type Component = Exported<FedEx>;
cellm_plugin::export_aggregator!(Component);
cellm_plugin::export_stepping!(Component);

#[cfg(test)]
mod tests;
