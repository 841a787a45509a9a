//! `topk-ef`: the codec of SparseLoCo, the optimizer of Templar (Sarfi, Thérien, Lidin, Belilovsky 2025, arXiv 2508.15706):
//! the top k of each chunk, their values at few bits.
//!
//! ```text
//! e = beta * e + delta                            // the engine: `upload.error_feedback`, beta = `upload.error_decay`
//! send Q(top-k of |e| in each chunk)              // this policy
//! e = e - what was sent                           // the engine
//! ```
//!
//! In: weights `W` (as `W - W0`, or as they are: option `reference`), a delta, or a difference. Out: coordinates and values
//! at 1 bit (sign and mean magnitude), 2 to 4 bits (Lloyd's levels of the message, 2 bytes each), 16 or 32. Of a chunk
//! `max(1, floor(density * chunk))` values are kept, of a shorter last chunk its share of that, rounded up. The paper cuts
//! each tensor in tiles of 64 x 64; here a chunk is as many neighbours in the flat vector.
//!
//! The paper's server takes the mean over all participants with rate 1 and no momentum: the decayed `e` is the momentum.

use cellm_plugin::{
    Capabilities, Compressor, Content, Context, Description, Exported, IndexSet, Layout, Message, Options, Policy,
    PolicyError, Precision, Settings, Vector, kept, option, put_chosen, share_of, take_chosen,
};

/// The policy's options, as `init` read them.
struct TopKEf {
    values: u32,
    /// Values of a chunk; all of them for a global top k.
    chunk: u32,
    seeded: bool,
    precision: Precision,
}

impl TopKEf {
    /// Number of values of a whole chunk that are kept.
    fn kept_of_a_chunk(&self, context: &Context) -> u32 {
        if self.chunk == self.values { kept(context, self.values) } else { share_of(context.density, self.chunk) }
    }

    /// Number of all values that are kept.
    fn kept(&self, context: &Context) -> u32 {
        let of_a_chunk = u64::from(self.kept_of_a_chunk(context));
        let (values, chunk) = (u64::from(self.values), u64::from(self.chunk.max(1)));
        (values / chunk * of_a_chunk + (values % chunk * of_a_chunk).div_ceil(chunk)) as u32
    }

    fn choose(&self, context: &Context, from: &Vector) -> IndexSet {
        if self.chunk == self.values {
            return from.top_k(0, self.values, self.kept_of_a_chunk(context));
        }
        from.top_k_chunked(0, self.values, self.chunk, self.kept_of_a_chunk(context))
    }

    /// True where messages hold the distance from `W0`.
    fn counts_from_start(&self, context: &Context) -> bool {
        self.seeded && context.content == Content::Weights
    }
}

impl Policy for TopKEf {
    fn describe() -> Description {
        Description {
            name: "topk-ef".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            about:
                "Sends the largest values of each chunk at 1 to 4, 16 or 32 bits (SparseLoCo). Made for error feedback."
                    .into(),
            capabilities: Capabilities::GAINS_FROM_ERROR_FEEDBACK,
            options: vec![
                option::count(
                    "chunk",
                    4096,
                    "Values of a chunk, of which each keeps its largest; 0 takes the largest of all.",
                ),
                option::choice(
                    "reference",
                    &["seeded", "zero"],
                    "Weights: `seeded` sends W - W0, unsent values are W0; `zero` sends W, unsent values are 0.",
                ),
            ],
        }
    }
}

impl Compressor for TopKEf {
    fn new(layout: Layout, settings: Settings, options: &Options) -> Result<Self, PolicyError> {
        let chunk = options.count("chunk")?;
        Ok(Self {
            values: layout.values,
            chunk: if chunk == 0 { layout.values } else { chunk.min(layout.values) },
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
        put_chosen(into, &self.choose(context, &moved), &moved, self.precision)
    }

    fn decode(&mut self, context: &Context, message: &Message, start: &Vector) -> Result<Vector, PolicyError> {
        let decoded = take_chosen(message, self.values, self.kept(context), self.precision)?;
        if self.counts_from_start(context) {
            decoded.axpy(1.0, start);
        }
        Ok(decoded)
    }
}

type Component = Exported<TopKEf>;
cellm_plugin::export_compressor!(Component);

#[cfg(test)]
mod tests;
