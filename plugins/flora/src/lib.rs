//! `flora`: stacked products go into the base weights and the adapter starts anew (Wang, Shen, He, Sun, Wang, Lyu, Li 2024,
//! "FLoRA: Federated Fine-Tuning Large Language Models with Heterogeneous Low-Rank Adaptations", arXiv 2409.05976). Stacking
//! `[w_1 B_1, w_2 B_2, ...]` times `[A_1; A_2; ...]` is the sum of the weighted products, so with weights that sum to 1
//!
//! `residual += scale (sum of w_i B_i A_i)`, then `B = 0` and A is drawn again.
//!
//! The residual is a tensor of role `base` beside each pair, which `lora.residual = true` puts into the layout; the paper
//! sends the stack and every client adds it to its own base weights, which is the same. The rank of what is learned is not
//! bound by the adapter's: it grows with every round. The download grows by the layer's own size.
//!
//! `restart = "fresh"` draws A from the round's seed, uniform in `+-1 / sqrt(in)` like the first start: the paper's way, each
//! round searches in other directions, and nothing has to be kept. `restart = "start"` takes the first round's A again, which
//! the server's memory keeps; then all rounds begin in the same directions.
//!
//! The head is averaged as other tensors are (`head = "mean"`), or as in `fedlol`, without `weighting` (`head = "loss"`). A rule
//! for the head beside the stack is the idea of FedCoT (Li, Zhao, Mo, Chen 2025, arXiv 2508.10020); this rule is ours, not theirs.
//!
//! The step is `W + G`, taken here, as a restart has no half step (`server.optimizer` has no say). Other tensors get
//! the mean. Downloads must hold all values (`download.policy = "dense"`): what falls back to the seeded start would undo
//! the draw.

mod head;
mod restart;

use cellm_plugin::mean::{Mean, Weighting};
use cellm_plugin::pairs::{Pair, pairs, residuals};
use cellm_plugin::{
    Aggregator, Capabilities, Description, Exported, Layout, Options, Policy, PolicyError, RoundInfo, Stepping,
    UpdateInfo, Vector, option,
};
use head::Head;
use restart::{drawn, remembered};

/// The options and the sums of the round.
pub struct Flora {
    layout: Layout,
    pairs: Vec<Pair>,
    weighting: Weighting,
    fresh: bool,
    own_head: bool,
    round: Option<Round>,
}

/// The updates of a round so far.
struct Round {
    base: Vector,
    /// For each pair the A of the next round.
    starts: Vec<Vector>,
    plain: Mean,
    head: Option<Head>,
    /// For each pair the mean of `scale B_i A_i`.
    products: Vec<Mean>,
}

impl Policy for Flora {
    fn describe() -> Description {
        let restart =
            "`fresh` draws A anew each round, as in the paper; `start` goes back to the A of the first round.";
        let head =
            "`mean` averages the head as other tensors; `loss` weighs clients by the sum of the others' losses there.";
        Description {
            name: "flora".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            about: "The mean of the products B A goes into the base weights, and the adapter starts anew each round. Needs \
                    lora.residual = true."
                .into(),
            capabilities: Capabilities::empty(),
            options: vec![
                Weighting::option(),
                option::choice("restart", &["fresh", "start"], restart),
                option::choice("head", &["mean", "loss"], head),
            ],
        }
    }
}

impl Aggregator for Flora {
    fn new(layout: Layout, options: &Options) -> Result<Self, PolicyError> {
        let pairs = pairs(&layout)?;
        residuals("flora", &pairs)?;
        let fresh = options.text("restart")? == "fresh";
        let own_head = options.text("head")? == "loss";
        if own_head {
            Head::new(&layout)?;
        }
        Ok(Self { layout, pairs, weighting: Weighting::of(options)?, fresh, own_head, round: None })
    }

    fn begin(&mut self, round: &RoundInfo, base: &Vector) -> Result<(), PolicyError> {
        let starts = if self.fresh { drawn(&self.pairs, round.seed) } else { remembered(&self.pairs, base) };
        let products = self.pairs.iter().map(|_| Mean::default()).collect();
        let head = self.own_head.then(|| Head::new(&self.layout)).transpose()?;
        self.round = Some(Round { base: base.copy(), starts, plain: Mean::default(), head, products });
        Ok(())
    }

    fn accept(&mut self, update: &Vector, info: &UpdateInfo) -> Result<(), PolicyError> {
        let round = self.round.as_mut().ok_or(PolicyError::NoUpdates)?;
        let end = round.base.copy();
        end.axpy(1.0, update);
        // First, as it may refuse the client.
        if let Some(head) = &mut round.head {
            head.add(info.loss, update)?;
        }
        let weight = self.weighting.weight(info);
        for (pair, products) in self.pairs.iter().zip(&mut round.products) {
            products.add(weight, &pair.product(&end));
        }
        round.plain.add(weight, update);
        Ok(())
    }

    fn finish(&mut self) -> Result<Vector, PolicyError> {
        let mut round = self.round.take().ok_or(PolicyError::NoUpdates)?;
        let aggregate = round.plain.take()?;
        if let Some(head) = &mut round.head {
            head.put(&aggregate)?;
        }
        for (number, pair) in self.pairs.iter().enumerate() {
            if let Some(place) = pair.residual {
                place.add(&aggregate, 1.0, &round.products[number].take()?);
            }
            let a = &round.starts[number];
            a.axpy(-1.0, &pair.a.of(&round.base));
            pair.a.put(&aggregate, a);
            let b = pair.b.of(&round.base);
            b.scale(-1.0);
            pair.b.put(&aggregate, &b);
        }
        Ok(aggregate)
    }
}

impl Stepping for Flora {
    fn step(&mut self, _: u32, weights: &Vector, aggregate: &Vector) -> Result<Vector, PolicyError> {
        let next = weights.copy();
        next.axpy(1.0, aggregate);
        Ok(next)
    }
}

type Component = Exported<Flora>;
cellm_plugin::export_aggregator!(Component);
cellm_plugin::export_stepping!(Component);

#[cfg(test)]
mod tests;
