//! The scales of blocks, which are numbers of half precision.

use half::f16;

/// The number at a place of a block.
pub(super) fn half(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}
