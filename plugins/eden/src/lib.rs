//! `eden`: EDEN (Vargaftik, Ben Basat, Portnoy, Mendelson, Ben-Itzhak, Mitzenmacher, ICML 2022, arXiv 2108.08842), with 1 bit
//! DRIVE (the same, NeurIPS 2021, arXiv 2105.08339): every value at 1 to 4 bits, unbiased, without a state.
//!
//! ```text
//! y = R x                                  // R: a random rotation that sender and receiver draw from the message's seed
//! q = nearest centroid of y * sqrt(d) / |x|     // best levels of a standard normal, which y nearly is
//! S = |x|^2 / <y, q>                       // makes the estimate unbiased
//! x' = R^-1 S q
//! ```
//!
//! In: weights `W` (as `W - W0`), a delta or a difference. Out: one f32 for each block, and `bits` for each value; density is
//! ignored. The error `E|x' - x|^2 / |x|^2` tends to `1 / (1 - D) - 1` with D the error of the best levels: 0.571, 0.133,
//! 0.0358, 0.00959 at 1, 2, 3, 4 bits.
//!
//! The rotation is the randomized Hadamard transform, applied twice: once is biased where a block has few values that are
//! not zero. Blocks have `block` values; what is left at the end goes in smaller powers of two, so that less than 128 zeros
//! are added.

mod blocks;

use cellm_plugin::{
    Capabilities, Compressor, Content, Context, Description, Exported, Layout, Message, Options, Policy, PolicyError,
    Settings, ValueCoding, Vector, bad_option, option,
};

use blocks::Stretch;

/// Best levels of a standard normal, the positive half: Max (1960), table I, to seven digits; by Lloyd's conditions.
const CENTROIDS: [&[f32]; 4] = [
    &[0.797_884_6],
    &[0.452_78, 1.510_417_6],
    &[0.245_094_2, 0.756_005_3, 1.343_909_3, 2.151_945_7],
    &[0.128_395, 0.388_048_3, 0.656_759, 0.942_340_5, 1.256_231_2, 1.618_046_4, 2.069_016_7, 2.732_589_6],
];

/// A block whose norm is less counts as zero: beyond it, the reciprocal of the norm is no f32 any more.
const LEAST_NORM: f64 = 1e-30;

/// The policy's options, as `init` read them.
struct Eden {
    values: u32,
    bits: u8,
    levels: Vec<f32>,
    stretches: Vec<Stretch>,
}

impl Eden {
    /// Length of what is rotated: the values and the zeros behind them.
    fn padded(&self) -> u32 {
        self.stretches.last().map_or(0, |last| last.offset + last.len)
    }

    /// Number of blocks, each with a scale of its own.
    fn blocks(&self) -> u32 {
        self.stretches.iter().map(Stretch::count).sum()
    }

    /// Rotates and makes each block's norm the root of its length; returns the norms that were there.
    fn normalize(&self, values: &Vector, seed: u64) -> Result<Vec<f64>, PolicyError> {
        let mut norms = Vec::with_capacity(self.blocks() as usize);
        blocks::each(values, &self.stretches, |number, stretch, part| {
            stretch.rotate(part, number, seed);
            let root = f64::from(stretch.block).sqrt();
            let mut factors = Vec::with_capacity(stretch.count() as usize);
            for offset in stretch.offsets() {
                let norm = part.slice(offset, stretch.block).norm();
                if !norm.is_finite() {
                    return Err(PolicyError::Other("a value to encode is not finite".into()));
                }
                factors.push(if norm < LEAST_NORM { 0.0 } else { (root / norm) as f32 });
                norms.push(norm);
            }
            stretch.scale(part, &factors);
            Ok(())
        })?;
        Ok(norms)
    }

    /// The factor of each block's centroids: `|x|^2 / <y, q>`, where `y` was scaled to norm `sqrt(d)`.
    fn scales(&self, normalized: &Vector, centroids: &Vector, norms: &[f64]) -> Vec<f32> {
        let blocks = self
            .stretches
            .iter()
            .flat_map(|stretch| stretch.offsets().map(|offset| (stretch.offset + offset, stretch.block)));
        let scale = |((offset, len), norm): ((u32, u32), &f64)| {
            let agreement = normalized.slice(offset, len).dot(&centroids.slice(offset, len));
            if *norm < LEAST_NORM { 0.0 } else { (norm * f64::from(len).sqrt() / agreement) as f32 }
        };
        blocks.zip(norms).map(scale).collect()
    }
}

impl Policy for Eden {
    fn describe() -> Description {
        Description {
            name: "eden".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            about:
                "Sends every value at 1 to 4 bits, unbiased, after a random rotation (EDEN, DRIVE). Density is ignored."
                    .into(),
            capabilities: Capabilities::UNBIASED,
            options: vec![option::count(
                "block",
                65536,
                "Values that are rotated together, a power of two from 128 on.",
            )],
        }
    }
}

impl Compressor for Eden {
    fn new(layout: Layout, settings: Settings, options: &Options) -> Result<Self, PolicyError> {
        let wrong_bits = || bad_option("bits", settings.bits, "1, 2, 3 or 4");
        let bits = u8::try_from(settings.bits).map_err(|_| wrong_bits())?;
        let positive = CENTROIDS.get(usize::from(bits).wrapping_sub(1)).ok_or_else(wrong_bits)?;
        let block = options.count("block")?;
        if !block.is_power_of_two() || block < blocks::SMALLEST {
            return Err(bad_option("block", block, "a power of two from 128 on"));
        }
        let levels = positive.iter().rev().map(|level| -level).chain(positive.iter().copied()).collect();
        Ok(Self { values: layout.values, bits, levels, stretches: blocks::stretches(layout.values, block) })
    }

    fn encode(
        &mut self,
        context: &Context,
        values: &Vector,
        start: &Vector,
        into: &Message,
    ) -> Result<(), PolicyError> {
        let rotated = Vector::new(self.padded());
        rotated.paste(0, values);
        if context.content == Content::Weights {
            let moved = values.copy();
            moved.axpy(-1.0, start);
            rotated.paste(0, &moved);
        }
        let norms = self.normalize(&rotated, context.seed)?;
        let codes = rotated.quantize(&self.levels);
        let centroids = codes.dequantize(&self.levels).map_err(PolicyError::Other)?;
        let scales = self.scales(&rotated, &centroids, &norms);
        let sent = Vector::new(scales.len() as u32);
        sent.write(0, &scales);
        into.put_values(ValueCoding::F32, &sent);
        into.put_codes(&codes);
        Ok(())
    }

    fn decode(&mut self, context: &Context, message: &Message, start: &Vector) -> Result<Vector, PolicyError> {
        let count = self.blocks();
        let scales = message.take_values(ValueCoding::F32, count)?.read(0, count);
        let codes = message.take_codes(self.bits, self.padded())?;
        let rotated = codes.dequantize(&self.levels).map_err(PolicyError::BadMessage)?;
        let mut scales = scales.as_slice();
        blocks::each(&rotated, &self.stretches, |number, stretch, part| {
            let (own, rest) = scales.split_at(stretch.count() as usize);
            scales = rest;
            stretch.scale(part, own);
            stretch.rotate_back(part, number, context.seed);
            Ok::<(), PolicyError>(())
        })?;
        let decoded = if self.padded() == self.values { rotated } else { rotated.slice(0, self.values) };
        if context.content == Content::Weights {
            decoded.axpy(1.0, start);
        }
        Ok(decoded)
    }
}

type Component = Exported<Eden>;
cellm_plugin::export_compressor!(Component);

#[cfg(test)]
mod tests;
