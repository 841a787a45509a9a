//! `stc`: sparse ternary compression (Sattler, Wiedemann, Müller, Samek 2019, arXiv 1903.02891): the top k of all values, each
//! as its sign times the mean magnitude of those k.
//!
//! ```text
//! mu = mean |e_i| over the top k of |e|           // Alg. 1: v is the k-th largest magnitude, mu the mean above it
//! send the top k as mu * sign(e_i)                // Golomb-coded gaps, 1 bit each, one float
//! ```
//!
//! In: weights `W` (as `W - W0`, or as they are: option `reference`), a delta, or a difference. Out: k coordinates, k signs,
//! mu. The paper has error feedback both ways (Alg. 2), which is the engine's: `upload.error_feedback` and
//! `download.error_feedback`; the engine's cache of frames that a client missed is the paper's of partial sums. The wire's
//! Rice coding of gaps is Golomb's with powers of two.

use cellm_plugin::{
    Capabilities, Compressor, Content, Context, Description, Exported, Layout, Message, Options, Policy, PolicyError,
    Precision, Settings, Vector, bad_option, kept, option, put_chosen, take_chosen,
};

/// The policy's options, as `init` read them.
struct Stc {
    values: u32,
    seeded: bool,
}

impl Stc {
    /// True where messages hold the distance from `W0`.
    fn counts_from_start(&self, context: &Context) -> bool {
        self.seeded && context.content == Content::Weights
    }
}

impl Policy for Stc {
    fn describe() -> Description {
        Description {
            name: "stc".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            about: "Sends the signs of the largest values and their mean magnitude (sparse ternary compression), at bits = 1. \
                    Made for error feedback both ways."
                .into(),
            capabilities: Capabilities::GAINS_FROM_ERROR_FEEDBACK,
            options: vec![option::choice(
                "reference",
                &["seeded", "zero"],
                "Weights: `seeded` sends W - W0, unsent values are W0; `zero` sends W, unsent values are 0.",
            )],
        }
    }
}

impl Compressor for Stc {
    fn new(layout: Layout, settings: Settings, options: &Options) -> Result<Self, PolicyError> {
        if settings.bits != 1 {
            return Err(bad_option("bits", settings.bits, "1"));
        }
        Ok(Self { values: layout.values, seeded: options.text("reference")? == "seeded" })
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
        let chosen = moved.top_k(0, self.values, kept(context, self.values));
        put_chosen(into, &chosen, &moved, Precision::Signs)
    }

    fn decode(&mut self, context: &Context, message: &Message, start: &Vector) -> Result<Vector, PolicyError> {
        let decoded = take_chosen(message, self.values, kept(context, self.values), Precision::Signs)?;
        if self.counts_from_start(context) {
            decoded.axpy(1.0, start);
        }
        Ok(decoded)
    }
}

type Component = Exported<Stc>;
cellm_plugin::export_compressor!(Component);

#[cfg(test)]
mod tests;
