//! `flexlora`: the best low-rank form of the mean product (Bai, Chen, Qian, Yao, Li 2024, "Federated Fine-tuning of Large
//! Language Models under Heterogeneous Tasks and Client Resources", arXiv 2402.11505). Client `i` of tier rank `r_i` ended
//! with `B_i = (base + update)[:, ..r_i]` and `A_i = (base + update)[..r_i, :]` in a layer:
//!
//! `M = sum of w_i B_i A_i = U diag(s) V`, cut to the rank `r` of the layer; `B = U diag(sqrt s)`, `A = diag(sqrt s) V`.
//!
//! `B A` is the rank-`r` matrix that is nearest to `M` (Eckart-Young), where the mean of B times the mean of A need not be near.
//! `alpha / rank` is a common factor of all products and changes nothing. Directions come out by falling singular value,
//! so that a client of rank `r_i`, which takes the first `r_i`, has the best that its rank can hold.
//!
//! `split = "balanced"` gives both sides the root: row `j` of A and column `j` of B have the same norm, `sqrt(s_j)`.
//! `split = "left"` gives B all of it: the rows of A stay orthonormal. A direction without a singular value (below 1e-6
//! of the largest) would leave both sides zero, and then without a gradient for good: its column of B becomes zero, its row
//! of A keeps the base's.
//!
//! The decomposition is of stacked factors, `[w_1 B_1, w_2 B_2, ...]` times `[A_1; A_2; ...]`, without their product where
//! the stack is the smaller. A and B turn from round to round though their product hardly moves: a server optimizer,
//! which mixes old coordinates with new ones, makes no sense of that, so the policy takes the step itself (`W + G`;
//! `server.optimizer` has no say), and downloads must hold all values (`download.policy = "dense"`). Other tensors get the mean.

mod factors;

use cellm_plugin::mean::{Mean, Weighting};
use cellm_plugin::pairs::{Pair, pairs};
use cellm_plugin::{
    Aggregator, Capabilities, Description, Exported, Layout, Options, Policy, PolicyError, RoundInfo, Stepping,
    UpdateInfo, Vector, option,
};
use factors::{End, Split, refactored};

/// The options and the ends of the round.
pub struct FlexLora {
    pairs: Vec<Pair>,
    weighting: Weighting,
    split: Split,
    base: Option<Vector>,
    ends: Vec<End>,
    plain: Mean,
}

impl Policy for FlexLora {
    fn describe() -> Description {
        let split = "`balanced` gives A and B the root of each singular value, `left` gives B all of it.";
        Description {
            name: "flexlora".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            about:
                "The mean of the products B A, brought back to the adapter's rank by a singular value decomposition."
                    .into(),
            capabilities: Capabilities::HOLDS_UPDATES,
            options: vec![Weighting::option(), option::choice("split", &["balanced", "left"], split)],
        }
    }
}

impl Aggregator for FlexLora {
    fn new(layout: Layout, options: &Options) -> Result<Self, PolicyError> {
        let split = if options.text("split")? == "left" { Split::Left } else { Split::Balanced };
        let (pairs, weighting) = (pairs(&layout)?, Weighting::of(options)?);
        Ok(Self { pairs, weighting, split, base: None, ends: Vec::new(), plain: Mean::default() })
    }

    fn begin(&mut self, _: &RoundInfo, base: &Vector) -> Result<(), PolicyError> {
        self.base = Some(base.copy());
        self.ends.clear();
        self.plain = Mean::default();
        Ok(())
    }

    fn accept(&mut self, update: &Vector, info: &UpdateInfo) -> Result<(), PolicyError> {
        let values = self.base.as_ref().ok_or(PolicyError::NoUpdates)?.copy();
        values.axpy(1.0, update);
        let weight = self.weighting.weight(info);
        self.ends.push(End { values, weight, tier_rank: info.rank });
        self.plain.add(weight, update);
        Ok(())
    }

    fn finish(&mut self) -> Result<Vector, PolicyError> {
        let ends = std::mem::take(&mut self.ends);
        let all = self.plain.weight();
        let aggregate = self.plain.take()?;
        let base = self.base.take().ok_or(PolicyError::NoUpdates)?;
        for pair in &self.pairs {
            let (a, b) = refactored(pair, &base, &ends, all, self.split);
            a.axpy(-1.0, &pair.a.of(&base));
            b.axpy(-1.0, &pair.b.of(&base));
            pair.a.put(&aggregate, &a);
            pair.b.put(&aggregate, &b);
        }
        Ok(aggregate)
    }
}

impl Stepping for FlexLora {
    fn step(&mut self, _: u32, weights: &Vector, aggregate: &Vector) -> Result<Vector, PolicyError> {
        let next = weights.copy();
        next.axpy(1.0, aggregate);
        Ok(next)
    }
}

type Component = Exported<FlexLora>;
cellm_plugin::export_aggregator!(Component);
cellm_plugin::export_stepping!(Component);

#[cfg(test)]
mod tests;
