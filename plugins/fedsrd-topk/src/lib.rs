//! `fedsrd-topk`: top k by the score of FedSRD (Yan, Xie, Shen, Fang, Wu 2025, arXiv 2510.04601), which ranks a value of A or
//! B by how much it changes the product B A.
//!
//! ```text
//! B' A' - B A = B' dA + dB A                       // ' is after local training
//! score of dA[v, j] = scale * |dA[v, j]| * |B'[:, v]|
//! score of dB[u, v] = scale * |dB[u, v]| * |A[v, :]|
//! ```
//!
//! Each score is the norm of what that value alone adds to the weight of the layer, so scores of all tensors compare; values
//! outside of a pair score `|d|`. The top k of all scores are sent (the paper cuts each tensor by its kurtosis instead and
//! scales up what is left; error feedback takes the place of that).
//!
//! In, up: a delta. A is what the client started from, B' is that plus the delta: the hook `plan` keeps what the client
//! received until its upload is encoded; where it was not asked, `W0` stands in. With error feedback the delta is what the
//! client owes, so B' is a little off. In, down: weights `W`; both norms are W's, what travels is `W - W0` (or W: option
//! `reference`). A difference is refused: the reference it is taken from is not known here. Out: k coordinates and values.

mod scores;

use cellm_plugin::pairs::{Pair, pairs};
use cellm_plugin::{
    Capabilities, Compressor, Content, Context, Description, Exported, Layout, Message, Options, Planning, Policy,
    PolicyError, Precision, Settings, TrainingPlan, Vector, forget, kept, load, option, put_chosen, save, take_chosen,
};

/// Key of the adapter that the client started from, from `plan` to `encode`.
const RECEIVED: &str = "received";

/// The policy's options, as `init` read them.
struct FedSrdTopK {
    values: u32,
    pairs: Vec<Pair>,
    seeded: bool,
    precision: Precision,
}

impl FedSrdTopK {
    /// True where messages hold the distance from `W0`.
    fn counts_from_start(&self, context: &Context) -> bool {
        self.seeded && context.content == Content::Weights
    }

    /// The scores of what travels.
    fn scores(
        &self,
        context: &Context,
        values: &Vector,
        start: &Vector,
        moved: &Vector,
    ) -> Result<Vector, PolicyError> {
        match context.content {
            Content::Weights => Ok(scores::scores(&self.pairs, moved, values, values)),
            Content::Delta => {
                let received = load(RECEIVED).unwrap_or_else(|| start.copy());
                forget(RECEIVED);
                let end = received.copy();
                end.axpy(1.0, values);
                Ok(scores::scores(&self.pairs, moved, &received, &end))
            }
            Content::Difference => Err(PolicyError::Other(
                "fedsrd-topk scores weights and deltas, found a difference: set download.error_feedback to false"
                    .into(),
            )),
        }
    }
}

impl Policy for FedSrdTopK {
    fn describe() -> Description {
        Description {
            name: "fedsrd-topk".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            about: "Sends the values of A and B that change the product B A most (FedSRD's score).".into(),
            capabilities: Capabilities::GAINS_FROM_ERROR_FEEDBACK,
            options: vec![option::choice(
                "reference",
                &["seeded", "zero"],
                "Weights: `seeded` sends W - W0, unsent values are W0; `zero` sends W, unsent values are 0.",
            )],
        }
    }
}

impl Compressor for FedSrdTopK {
    fn new(layout: Layout, settings: Settings, options: &Options) -> Result<Self, PolicyError> {
        Ok(Self {
            values: layout.values,
            pairs: pairs(&layout)?,
            seeded: options.text("reference")? == "seeded",
            precision: Precision::from_bits(settings.bits)?,
        })
    }

    fn encode(
        &mut self,
        context: &Context,
        values: &Vector,
        start: &Vector,
        into: &Message,
    ) -> Result<(), PolicyError> {
        let moved = values.copy();
        if self.counts_from_start(context) {
            moved.axpy(-1.0, start);
        }
        let scores = self.scores(context, values, start, &moved)?;
        let chosen = scores.top_k(0, self.values, kept(context, self.values));
        put_chosen(into, &chosen, &moved, self.precision)
    }

    fn decode(&mut self, context: &Context, message: &Message, start: &Vector) -> Result<Vector, PolicyError> {
        let decoded = take_chosen(message, self.values, kept(context, self.values), self.precision)?;
        if self.counts_from_start(context) {
            decoded.axpy(1.0, start);
        }
        Ok(decoded)
    }
}

impl Planning for FedSrdTopK {
    fn plan(&mut self, _: &Context, received: &Vector, _: &Vector) -> Result<TrainingPlan, PolicyError> {
        save(RECEIVED, received);
        Ok(TrainingPlan { trainable: None })
    }
}

type Component = Exported<FedSrdTopK>;
cellm_plugin::export_compressor!(Component);
cellm_plugin::export_planning!(Component);

#[cfg(test)]
mod tests;
