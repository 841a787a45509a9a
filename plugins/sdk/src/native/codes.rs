//! Small integers that stand for values, natively.

use std::rc::Rc;

use super::{Vector, range};

/// Small integers that stand for values: what a quantizer makes.
#[derive(Debug, Clone)]
pub struct Codes {
    pub(super) bits: u8,
    pub(super) codes: Rc<Vec<u8>>,
}

impl Codes {
    pub(super) fn new(bits: u8, codes: Vec<u8>) -> Self {
        Self { bits, codes: Rc::new(codes) }
    }

    /// 1 to 8 bits each; a code that needs more panics.
    pub fn from_list(bits: u8, codes: &[u8]) -> Self {
        assert!((1..=8).contains(&bits), "codes.from-list: {bits} bits, 1 to 8 allowed");
        let largest = codes.iter().copied().max().unwrap_or(0);
        assert!(u16::from(largest) < 1 << bits, "codes.from-list: code {largest} in {bits} bits");
        Self::new(bits, codes.to_vec())
    }

    /// Bits of each.
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// Number of codes.
    pub fn count(&self) -> u32 {
        self.codes.len() as u32
    }

    /// Codes number `offset` to `offset + count - 1`.
    pub fn read(&self, offset: u32, count: u32) -> Vec<u8> {
        range("codes.read", &self.codes, offset, count).to_vec()
    }

    /// The level of each code. A code without a level is an error.
    pub fn dequantize(&self, levels: &[f32]) -> Result<Vector, String> {
        cellm_kernels::dequantize(&self.codes, levels).map(Vector::from_values)
    }
}
