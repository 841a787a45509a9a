//! The pieces of a frame: one after the other they are its bytes. Long f32 values are a piece as they are, shared with whoever
//! has them, so that a dense frame costs no copy of its values.

use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3;

use super::values::first_not_finite;

/// Bytes that values are turned into at a time; they stay in the first-level cache.
const BLOCK: usize = 4096;

/// A run of a frame's bytes.
#[derive(Debug)]
pub(super) enum Piece {
    Bytes(Vec<u8>),
    /// Four bytes each, little endian; and whether all are finite.
    Values(Arc<Vec<f32>>, bool),
}

impl Piece {
    /// The length, bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Values(values, _) => size_of_val(values.as_slice()),
        }
    }

    /// Fills `out` with the bytes from `start` on; there are as many.
    pub fn copy(&self, start: usize, out: &mut [u8]) {
        let values = match self {
            Self::Bytes(bytes) => return out.copy_from_slice(&bytes[start..start + out.len()]),
            Self::Values(values, _) => values,
        };
        let byte = |at: usize| values[at / 4].to_le_bytes()[at % 4];
        let (front, rest) = out.split_at_mut(out.len().min((4 - start % 4) % 4));
        front.iter_mut().enumerate().for_each(|(place, to)| *to = byte(start + place));
        let first = start + front.len();
        let (whole, last) = rest.as_chunks_mut::<4>();
        for (to, from) in whole.iter_mut().zip(&values[first / 4..]) {
            *to = from.to_le_bytes();
        }
        let end = first + 4 * whole.len();
        last.iter_mut().enumerate().for_each(|(place, to)| *to = byte(end + place));
    }
}

/// Adds the bytes of values to a hash. The result is whether all of them are finite: they are looked at once for both.
pub(super) fn hash_values(values: &[f32], hasher: &mut Xxh3) -> bool {
    let (mut finite, mut bytes) = (true, [0; BLOCK]);
    for block in values.chunks(BLOCK / 4) {
        let bytes = &mut bytes[..4 * block.len()];
        for (to, from) in bytes.as_chunks_mut().0.iter_mut().zip(block) {
            *to = from.to_le_bytes();
        }
        hasher.update(bytes);
        finite &= first_not_finite(block).is_none();
    }
    finite
}
