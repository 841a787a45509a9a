//! The common part of `topk-cm` and `unicast`: the largest values of a vector, a few levels each, in as few bits as they take.
//!
//! Goes in: a vector, and how many of its values are to be sent. Comes out: a message of two parts, the levels and the bytes
//! of an arithmetic coder, and of it a vector again.
//!
//! ```text
//! T = the k-th largest magnitude                  // of all tensors together: one step for all loses least in all
//! level of x = min(floor(|x| / T), levels)        // 0 is not sent
//! sent: sign and level; its magnitude is the mean of its level's
//! ```
//!
//! A uniform step with a dead zone and entropy coding is near what rate-distortion theory allows at few bits (Sullivan 1996),
//! and is what codecs of neural networks do (DeepCABAC: Wiedemann et al. 2020, arXiv 1907.11900; for differences of
//! federated learning: Becking et al. 2023). Here probabilities are mixed of several contexts, see `Model`.

mod mixer;
mod model;
mod range;

use cellm_plugin::{Layout, Message, PolicyError, Settings, ValueCoding, Vector, bad_option};

use mixer::Tables;
use model::{Model, Shapes};
use range::{Decoder, Encoder};

/// Values that are written to the host at a time.
const CHUNK: u32 = 65_536;

/// The coder with its settings, fixed for a run.
#[derive(Debug)]
pub struct Codec {
    shapes: Shapes,
    tables: Tables,
    levels: u8,
    /// The last put: error feedback takes it again at once.
    put: Option<Put>,
}

/// A message, and what it means.
#[derive(Debug)]
struct Put {
    k: u32,
    bytes: Vec<u8>,
    symbols: Vec<i8>,
}

impl Codec {
    /// 1 bit is the sign alone, 2 to 4 bits have 2, 4 or 8 levels; other bits are a bad option.
    pub fn new(layout: &Layout, settings: Settings) -> Result<Self, PolicyError> {
        let levels = match settings.bits {
            1 => 1,
            2 => 2,
            3 => 4,
            4 => 8,
            bits => return Err(bad_option("bits", bits, "1, 2, 3 or 4")),
        };
        Ok(Self { shapes: Shapes::new(layout), tables: Tables::new(), levels, put: None })
    }

    /// Values of the layout, `P`.
    pub fn values(&self) -> u32 {
        self.shapes.values() as u32
    }

    /// Appends the `k` largest of `values`; gives what they are decoded to.
    pub fn put(&mut self, values: &Vector, k: u32, into: &Message) -> Result<Vector, PolicyError> {
        if !values.norm().is_finite() {
            return Err(PolicyError::Other("a value to encode is not finite".into()));
        }
        let chosen = values.top_k(0, self.values(), k);
        let (at, largest) = (chosen.read(0, chosen.count()), values.gather(&chosen).read(0, chosen.count()));
        let least = largest.iter().fold(f32::INFINITY, |least, value| least.min(value.abs())).max(f32::MIN_POSITIVE);
        let mut symbols = vec![0_i8; self.shapes.values()];
        let mut sums = vec![(0.0_f64, 0_u32); usize::from(self.levels)];
        for (at, value) in at.into_iter().zip(&largest) {
            // A conversion of f32 to an integer saturates.
            let level = ((value.abs() / least) as u8).min(self.levels);
            if level == 0 {
                continue;
            }
            symbols[at as usize] = if *value < 0.0 { -(level as i8) } else { level as i8 };
            let (sum, count) = &mut sums[usize::from(level - 1)];
            (*sum, *count) = (*sum + f64::from(value.abs()), *count + 1);
        }
        let means: Vec<f32> = sums.iter().map(|(sum, count)| (sum / f64::from((*count).max(1))) as f32).collect();
        let levels = Vector::new(u32::from(self.levels));
        levels.write(0, &means);
        into.put_values(ValueCoding::Bf16, &levels);
        let mut encoder = Encoder::new();
        self.model(k).walk(&mut encoder, self.levels, &mut symbols);
        let bytes = encoder.finish();
        into.put_bytes(&bytes);
        // As they travel: rounded.
        let means: Vec<f32> = means.into_iter().map(rounded).collect();
        let decoded = self.vector(&symbols, &means);
        self.put = Some(Put { k, bytes, symbols });
        Ok(decoded)
    }

    /// Takes what [`put`](Self::put) appended, which sent `k` values at most: a vector of `P` values.
    pub fn take(&self, k: u32, message: &Message) -> Result<Vector, PolicyError> {
        let count = u32::from(self.levels);
        let levels = message.take_values(ValueCoding::Bf16, count)?.read(0, count);
        let bytes = message.take_bytes()?;
        if let Some(put) = self.put.as_ref().filter(|put| put.k == k && put.bytes == bytes) {
            return Ok(self.vector(&put.symbols, &levels));
        }
        let mut symbols = vec![0_i8; self.shapes.values()];
        let mut decoder = Decoder::new(&bytes);
        self.model(k).walk(&mut decoder, self.levels, &mut symbols);
        let found = symbols.iter().filter(|symbol| **symbol != 0).count();
        if decoder.left() > 0 || found > k as usize {
            let left = decoder.left();
            return Err(PolicyError::BadMessage(format!(
                "{found} values found and {left} bytes left over, {k} at most and none expected"
            )));
        }
        Ok(self.vector(&symbols, &levels))
    }

    fn vector(&self, symbols: &[i8], levels: &[f32]) -> Vector {
        let value = |symbol: &i8| match symbol.unsigned_abs().checked_sub(1) {
            None => 0.0,
            Some(level) => levels[usize::from(level)] * f32::from(symbol.signum()),
        };
        let decoded = Vector::new(self.values());
        for (number, chunk) in symbols.chunks(CHUNK as usize).enumerate() {
            decoded.write(number as u32 * CHUNK, &chunk.iter().map(value).collect::<Vec<f32>>());
        }
        decoded
    }

    fn model(&self, k: u32) -> Model<'_> {
        Model::new(&self.shapes, &self.tables, k as f32 / self.shapes.values().max(1) as f32)
    }
}

/// The nearest bf16, of two as near the even one.
fn rounded(value: f32) -> f32 {
    let bits = value.to_bits();
    f32::from_bits((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000)
}
