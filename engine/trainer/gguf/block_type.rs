//! The types of tensors in GGUF files: bytes in, f32 values out. A row is a sequence of blocks, each of so many values
//! with scales of their own. The values are those of `gguf.quants`, the reference in Python, bit for bit.

use half::{bf16, f16};

use super::k_quants;
use super::scale::half;

/// A type of values in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::trainer) enum BlockType {
    F32,
    F16,
    Bf16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2K,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
}

/// Number in files, name, values of a block and its bytes.
const TYPES: [(BlockType, u32, &str, usize, usize); 13] = [
    (BlockType::F32, 0, "F32", 1, 4),
    (BlockType::F16, 1, "F16", 1, 2),
    (BlockType::Bf16, 30, "BF16", 1, 2),
    (BlockType::Q8_0, 8, "Q8_0", 32, 34),
    (BlockType::Q4_0, 2, "Q4_0", 32, 18),
    (BlockType::Q4_1, 3, "Q4_1", 32, 20),
    (BlockType::Q5_0, 6, "Q5_0", 32, 22),
    (BlockType::Q5_1, 7, "Q5_1", 32, 24),
    (BlockType::Q2K, 10, "Q2_K", k_quants::VALUES, 84),
    (BlockType::Q3K, 11, "Q3_K", k_quants::VALUES, 110),
    (BlockType::Q4K, 12, "Q4_K", k_quants::VALUES, 144),
    (BlockType::Q5K, 13, "Q5_K", k_quants::VALUES, 176),
    (BlockType::Q6K, 14, "Q6_K", k_quants::VALUES, 210),
];

/// Types of llama.cpp that are not read, for errors.
const UNREAD: [(u32, &str); 20] = [
    (9, "Q8_1"),
    (15, "Q8_K"),
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (20, "IQ4_NL"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (23, "IQ4_XS"),
    (24, "I8"),
    (25, "I16"),
    (26, "I32"),
    (27, "I64"),
    (28, "F64"),
    (29, "IQ1_M"),
    (34, "TQ1_0"),
    (35, "TQ2_0"),
    (39, "MXFP4"),
    (40, "NVFP4"),
];

impl BlockType {
    /// The type of a number in a file.
    ///
    /// # Errors
    /// The name of a type that is not read, or its number.
    pub fn of_number(number: u32) -> Result<Self, String> {
        let unread = || UNREAD.iter().find(|(known, _)| *known == number).map(|(_, name)| (*name).to_owned());
        let known = TYPES.iter().find(|(_, known, ..)| *known == number).map(|(kind, ..)| *kind);
        known.ok_or_else(|| unread().unwrap_or_else(|| number.to_string()))
    }

    /// The names of all that are read.
    pub fn names() -> String {
        TYPES.map(|(_, _, name, ..)| name).join(", ")
    }

    fn row(self) -> (&'static str, usize, usize) {
        let row = TYPES.iter().find(|(kind, ..)| *kind == self);
        row.map_or(("", 1, 1), |(_, _, name, values, bytes)| (*name, *values, *bytes))
    }

    /// Its name in llama.cpp.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// Values of a block.
    pub fn values(self) -> usize {
        self.row().1
    }

    /// Bytes of a block.
    pub fn bytes(self) -> usize {
        self.row().2
    }

    /// Writes the values of whole blocks; `to` is as long as they are together.
    pub fn write_values(self, blocks: &[u8], to: &mut [f32]) {
        match self {
            Self::F32 => each(blocks, to, |bytes| [f32::from_le_bytes(*bytes)]),
            Self::F16 => each(blocks, to, |bytes| [f16::from_le_bytes(*bytes).to_f32()]),
            Self::Bf16 => each(blocks, to, |bytes| [bf16::from_le_bytes(*bytes).to_f32()]),
            Self::Q8_0 => each(blocks, to, q8_0),
            Self::Q4_0 => each(blocks, to, q4_0),
            Self::Q4_1 => each(blocks, to, q4_1),
            Self::Q5_0 => each(blocks, to, q5_0),
            Self::Q5_1 => each(blocks, to, q5_1),
            Self::Q2K => each(blocks, to, k_quants::q2_k),
            Self::Q3K => each(blocks, to, k_quants::q3_k),
            Self::Q4K => each(blocks, to, k_quants::q4_k),
            Self::Q5K => each(blocks, to, k_quants::q5_k),
            Self::Q6K => each(blocks, to, k_quants::q6_k),
        }
    }
}

/// The values of one block after the other.
fn each<const BYTES: usize, const VALUES: usize>(
    blocks: &[u8],
    to: &mut [f32],
    values: impl Fn(&[u8; BYTES]) -> [f32; VALUES],
) {
    for (to, block) in to.as_chunks_mut().0.iter_mut().zip(blocks.as_chunks().0) {
        *to = values(block);
    }
}

fn q8_0(block: &[u8; 34]) -> [f32; 32] {
    let scale = half(block, 0);
    let mut values = [0.0; 32];
    values.iter_mut().zip(&block[2..]).for_each(|(to, code)| *to = f32::from(*code as i8) * scale);
    values
}

/// The two values of each byte: low halves first, then high halves.
fn nibbles(codes: &[u8], value: impl Fn(u8, usize) -> f32) -> [f32; 32] {
    let mut values = [0.0; 32];
    let (low, high) = values.split_at_mut(16);
    for (at, ((low, high), code)) in low.iter_mut().zip(high).zip(codes).enumerate() {
        *low = value(code & 0xf, at);
        *high = value(code >> 4, at + 16);
    }
    values
}

fn q4_0(block: &[u8; 18]) -> [f32; 32] {
    let scale = half(block, 0);
    nibbles(&block[2..], |code, _| scale * f32::from(code as i8 - 8))
}

fn q4_1(block: &[u8; 20]) -> [f32; 32] {
    let (scale, least) = (half(block, 0), half(block, 2));
    nibbles(&block[4..], |code, _| scale * f32::from(code) + least)
}

/// A code's fifth bit, of a word of 32 that begins at a place of the block.
fn fifth_bits(block: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
}

fn q5_0(block: &[u8; 22]) -> [f32; 32] {
    let (scale, high) = (half(block, 0), fifth_bits(block, 2));
    nibbles(&block[6..], |code, at| scale * f32::from((code | (((high >> at) & 1) << 4) as u8) as i8 - 16))
}

fn q5_1(block: &[u8; 24]) -> [f32; 32] {
    let (scale, least, high) = (half(block, 0), half(block, 2), fifth_bits(block, 4));
    nibbles(&block[8..], |code, at| scale * f32::from(code | (((high >> at) & 1) << 4) as u8) + least)
}
