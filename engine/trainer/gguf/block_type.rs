//! The types of tensors in GGUF files: bytes in, f32 values or products with them out. A row is a sequence of blocks, each
//! of so many values with scales of their own. The values are those of `gguf.quants`, the reference in Python, bit for
//! bit.

use half::bf16;

use super::codes::{Codes, ForBlocks};
use super::k_quants;
use super::row_products::RowProducts;
use super::scale::half;
use super::write_values::WriteValues;

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
        self.give_to(WriteValues { blocks, to });
    }

    /// Writes the product of each stored row with `input`, which is as long as a row.
    pub fn write_products<'a>(self, rows: impl Iterator<Item = &'a [u8]>, input: &[f32], to: &mut [f32]) {
        self.give_to(RowProducts { rows, input, to });
    }

    /// Hands the reader of this type's blocks to `work`.
    fn give_to(self, work: impl ForBlocks) {
        match self {
            Self::F32 => work.of_numbers(|bytes| f32::from_le_bytes(*bytes)),
            Self::F16 => work.of_numbers(|bytes: &[u8; 2]| half(bytes, 0)),
            Self::Bf16 => work.of_numbers(|bytes| bf16::from_le_bytes(*bytes).to_f32()),
            Self::Q8_0 => work.of_codes(q8_0),
            Self::Q4_0 => work.of_codes(q4_0),
            Self::Q4_1 => work.of_codes(q4_1),
            Self::Q5_0 => work.of_codes(q5_0),
            Self::Q5_1 => work.of_codes(q5_1),
            Self::Q2K => work.of_codes(k_quants::q2_k),
            Self::Q3K => work.of_codes(k_quants::q3_k),
            Self::Q4K => work.of_codes(k_quants::q4_k),
            Self::Q5K => work.of_codes(k_quants::q5_k),
            Self::Q6K => work.of_codes(k_quants::q6_k),
        }
    }
}

#[inline(always)]
fn q8_0(block: &[u8; 34]) -> Codes<32, 1> {
    let mut codes = [0; 32];
    codes.iter_mut().zip(&block[2..]).for_each(|(to, code)| *to = code.cast_signed());
    Codes { codes, scales: [half(block, 0)], shifts: None }
}

/// The two codes of each of 16 bytes, low halves first, then high halves; less `less`.
#[inline(always)]
fn nibbles(bytes: &[u8], less: i8) -> [i8; 32] {
    let mut codes = [0; 32];
    let (low, high) = codes.split_at_mut(16);
    for ((low, high), byte) in low.iter_mut().zip(high).zip(&bytes[..16]) {
        *low = (byte & 0xf).cast_signed() - less;
        *high = (byte >> 4).cast_signed() - less;
    }
    codes
}

#[inline(always)]
fn q4_0(block: &[u8; 18]) -> Codes<32, 1> {
    Codes { codes: nibbles(&block[2..], 8), scales: [half(block, 0)], shifts: None }
}

#[inline(always)]
fn q4_1(block: &[u8; 20]) -> Codes<32, 1> {
    Codes { codes: nibbles(&block[4..], 0), scales: [half(block, 0)], shifts: Some([half(block, 2)]) }
}

/// Adds the fifth bits of 32 codes, which lie side by side in four bytes.
#[inline(always)]
fn add_fifth_bits(codes: &mut [i8; 32], bits: &[u8]) {
    for (codes, bits) in codes.as_chunks_mut::<8>().0.iter_mut().zip(bits) {
        for (at, code) in codes.iter_mut().enumerate() {
            *code += (bits >> at & 1).cast_signed() << 4;
        }
    }
}

#[inline(always)]
fn q5_0(block: &[u8; 22]) -> Codes<32, 1> {
    let mut codes = nibbles(&block[6..], 16);
    add_fifth_bits(&mut codes, &block[2..6]);
    Codes { codes, scales: [half(block, 0)], shifts: None }
}

#[inline(always)]
fn q5_1(block: &[u8; 24]) -> Codes<32, 1> {
    let mut codes = nibbles(&block[8..], 0);
    add_fifth_bits(&mut codes, &block[4..8]);
    Codes { codes, scales: [half(block, 0)], shifts: Some([half(block, 2)]) }
}
