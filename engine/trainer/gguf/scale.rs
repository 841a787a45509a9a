//! The scales of blocks, which are numbers of half precision.

/// The number at a place of a block.
#[inline(always)]
pub(super) fn half(block: &[u8], at: usize) -> f32 {
    to_f32(u16::from_le_bytes([block[at], block[at + 1]]))
}

/// Half precision to f32 without a branch, so that loops over blocks become vector instructions. Exact.
#[inline(always)]
fn to_f32(half: u16) -> f32 {
    /// 2^112, the difference of the two types' exponents; it also makes normal numbers of subnormal ones.
    const REBIAS: f32 = f32::from_bits((127 + 112) << 23);
    let magnitude = f32::from_bits(u32::from(half & 0x7fff) << 13) * REBIAS;
    let infinite_or_none = if half & 0x7c00 == 0x7c00 { 0xff << 23 } else { 0 };
    f32::from_bits(magnitude.to_bits() | infinite_or_none | u32::from(half & 0x8000) << 16)
}

#[cfg(test)]
mod tests {
    use super::to_f32;

    #[test]
    fn every_number_of_half_precision_is_read_exactly() {
        for bits in 0..=u16::MAX {
            let (found, expected) = (to_f32(bits), half::f16::from_bits(bits).to_f32());
            assert!(found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan(), "{bits:#x}");
        }
    }
}
