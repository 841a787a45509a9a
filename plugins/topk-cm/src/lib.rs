//! `topk-cm`: the top k of all values at 1 to 4 bits, positions, signs and levels coded together by context mixing.
//!
//! ```text
//! e = e + delta                                   // the engine: error feedback, both ways
//! send the top k of |e| as signs and levels       // plugins/mixing
//! ```
//!
//! In: weights `W` (as `W - W0`), a delta, or a difference. Out: the levels at two bytes each, and the bytes of an arithmetic
//! coder. What it chooses at 1 bit is what `stc` chooses (arXiv 1903.02891), and so is what arrives, but for the rounding of
//! the mean magnitude; what differs are the bytes. Every value is looked at, sent or not: coding and decoding take a decision
//! for each of `P`, or one for eight neighbours of which none is sent.

use cellm_mixing::Codec;
use cellm_plugin::{
    Capabilities, Compressor, Content, Context, Description, Exported, Layout, Message, Options, Policy, PolicyError,
    Settings, Vector, kept,
};

/// The coder, as `init` set it.
struct TopKCm(Codec);

impl Policy for TopKCm {
    fn describe() -> Description {
        Description {
            name: "topk-cm".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            about: "Sends signs and coarse levels of the largest values in the fewest bytes: an arithmetic coder learns from \
                    the adapter's rows, columns and tensors where they are. Made for error feedback both ways."
                .into(),
            capabilities: Capabilities::GAINS_FROM_ERROR_FEEDBACK,
            options: vec![],
        }
    }
}

impl Compressor for TopKCm {
    fn new(layout: Layout, settings: Settings, _: &Options) -> Result<Self, PolicyError> {
        Codec::new(&layout, settings).map(Self)
    }

    fn encode(
        &mut self,
        context: &Context,
        values: &Vector,
        start: &Vector,
        into: &Message,
    ) -> Result<(), PolicyError> {
        let moved = values.copy();
        if context.content == Content::Weights {
            moved.axpy(-1.0, start);
        }
        self.0.put(&moved, kept(context, self.0.values()), into).map(drop)
    }

    fn decode(&mut self, context: &Context, message: &Message, start: &Vector) -> Result<Vector, PolicyError> {
        let decoded = self.0.take(kept(context, self.0.values()), message)?;
        if context.content == Content::Weights {
            decoded.axpy(1.0, start);
        }
        Ok(decoded)
    }
}

type Component = Exported<TopKCm>;
cellm_plugin::export_compressor!(Component);

#[cfg(test)]
mod tests;
