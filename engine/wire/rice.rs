//! Rice coding of strictly increasing indices: each gap is written as a quotient by `2^k` in unary (zeros, then a one)
//! and a remainder of `k` bits. Gaps of random indices are geometric, for which this is within about 0.03 bits a gap of
//! Golomb's code (Rice 1979; Gallager and van Voorhis 1975). Indices in, bytes out, and back.

use super::WireError;
use super::bits::{BitReader, BitWriter};

/// The largest parameter: it takes five bits of the coding byte.
pub(super) const LARGEST_PARAMETER: u32 = 31;

/// The parameter that codes the indices in the fewest bits, and that number of bits.
///
/// The size as a function of `k` is convex, because halving a gap's quotient saves ever less: walking downhill from an
/// estimate ends at the optimum.
pub(super) fn best_parameter(indices: &[u32]) -> (u32, u64) {
    let Some(last) = indices.last() else { return (0, 0) };
    let count = indices.len() as u64;
    let skipped = u64::from(*last) + 1 - count;
    let mut k = (skipped * 7 / (10 * count)).checked_ilog2().unwrap_or(0).min(LARGEST_PARAMETER);
    let mut bits = size_bits(indices, k);
    for step in [1, -1] {
        while let Some(next) = k.checked_add_signed(step).filter(|k| *k <= LARGEST_PARAMETER) {
            let next_bits = size_bits(indices, next);
            if next_bits >= bits {
                break;
            }
            (k, bits) = (next, next_bits);
        }
    }
    (k, bits)
}

/// Exact size of the code.
fn size_bits(indices: &[u32], k: u32) -> u64 {
    let first = indices.first().copied().unwrap_or(0) >> k;
    // All gaps together are at most the last index, so that 32 bits hold their sum.
    let quotients: u32 = indices.windows(2).map(|pair| (pair[1] - pair[0] - 1) >> k).sum();
    u64::from(first) + u64::from(quotients) + indices.len() as u64 * u64::from(1 + k)
}

/// Appends the code of strictly increasing indices.
pub(super) fn encode(indices: &[u32], k: u32, out: &mut Vec<u8>) {
    let mut writer = BitWriter::new(out);
    let mask = (1 << k) - 1;
    let mut next = 0;
    for index in indices {
        let gap = u64::from(index - next);
        let mut quotient = (gap >> k) as u32;
        let tail = (gap & mask) << 1 | 1;
        while quotient + 1 + k > 63 {
            let zeros = quotient.min(32);
            writer.put(0, zeros);
            quotient -= zeros;
        }
        writer.put(tail << quotient, quotient + 1 + k);
        next = index.wrapping_add(1);
    }
    writer.finish();
}

/// Reads exactly `count` indices below `space` out of exactly these bytes.
///
/// # Errors
/// When the bytes end early, go on after the last index, or hold an index that is not below `space`.
pub(super) fn decode(bytes: &[u8], k: u32, count: usize, space: u32, part: usize) -> Result<Vec<u32>, WireError> {
    let end = bytes.len() as u64 * 8;
    let most = (end / u64::from(1 + k)) as usize;
    if count > most {
        return Err(WireError::IndexCount { part, expected: count, bytes: bytes.len(), found: most });
    }
    let reader = BitReader::new(bytes);
    let mask = (1 << k) - 1;
    let mut indices = vec![0; count];
    let mut position = 0;
    let (mut word, mut valid) = reader.word(0);
    let mut next = 0u64;
    for (found, slot) in indices.iter_mut().enumerate() {
        if word.trailing_zeros() + 1 + k > valid {
            (word, valid) = reader.word(position);
        }
        let mut long = 0;
        while word.trailing_zeros() + 1 + k > valid {
            // The run of zeros, or the remainder after it, is longer than the word.
            let zeros = word.trailing_zeros().min(valid - k - 1);
            long += u64::from(zeros);
            position += zeros as usize;
            if position as u64 >= end {
                return Err(WireError::IndexCount { part, expected: count, bytes: bytes.len(), found });
            }
            (word, valid) = reader.word(position);
        }
        let quotient = word.trailing_zeros();
        let rest = word >> quotient >> 1;
        let index = next + ((long + u64::from(quotient)) << k) + (rest & mask);
        if index >= u64::from(space) {
            return Err(WireError::IndexRange { part, index, space });
        }
        *slot = index as u32;
        next = index + 1;
        word = rest >> k;
        valid -= quotient + 1 + k;
        position += (quotient + 1 + k) as usize;
    }
    let padding_is_empty = position.div_ceil(8) == bytes.len() && reader.word(position).0 == 0;
    if !padding_is_empty {
        return Err(WireError::IndexPadding { part, bytes: bytes.len(), end: position });
    }
    Ok(indices)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn code(indices: &[u32], k: u32) -> Vec<u8> {
        let mut out = Vec::new();
        encode(indices, k, &mut out);
        out
    }

    proptest! {
        #[test]
        fn every_parameter_brings_the_indices_back_in_the_announced_size(
            indices in prop::collection::btree_set(0..100_000_u32, 0..200), k in 0..=LARGEST_PARAMETER,
        ) {
            let indices: Vec<u32> = indices.into_iter().collect();
            let bytes = code(&indices, k);
            prop_assert_eq!(bytes.len() as u64, size_bits(&indices, k).div_ceil(8));
            prop_assert_eq!(decode(&bytes, k, indices.len(), 100_000, 0), Ok(indices));
        }

        #[test]
        fn the_best_parameter_is_the_best_of_all(
            indices in prop::collection::btree_set(any::<u32>(), 0..60), shift in 0..32_u32,
        ) {
            let mut indices: Vec<u32> = indices.into_iter().map(|index| index >> shift).collect();
            indices.dedup();
            let best = (0..=LARGEST_PARAMETER).map(|k| size_bits(&indices, k)).min().unwrap();
            prop_assert_eq!(best_parameter(&indices).1, best);
        }
    }

    #[test]
    fn the_largest_index_and_the_longest_run_come_back() {
        let indices = [0, 300, u32::MAX - 1];
        for k in [24, 31] {
            assert_eq!(decode(&code(&indices, k), k, 3, u32::MAX, 0), Ok(indices.to_vec()));
        }
        assert_eq!(decode(&code(&[5_000], 0), 0, 1, 5_001, 0), Ok(vec![5_000]));
    }

    #[test]
    fn a_gap_is_its_quotient_in_zeros_then_a_one_then_its_remainder_from_the_low_bits_up() {
        // Gaps 3 = 1 * 2 + 1 and 5 = 2 * 2 + 1: bits 0 1 1 and 0 0 1 1.
        assert_eq!(code(&[3, 9], 1), [0b0110_0110]);
    }

    #[test]
    fn bytes_that_end_early_go_on_or_leave_the_space_are_errors() {
        let bytes = code(&[3, 9, 40], 1);
        let count = |expected, bytes, found| Err(WireError::IndexCount { part: 7, expected, bytes, found });
        assert_eq!(decode(&bytes[..2], 1, 3, 41, 7), count(3, 2, 2));
        assert_eq!(decode(&bytes, 1, 13, 41, 7), count(13, bytes.len(), 12));
        assert_eq!(decode(&bytes, 1, 3, 40, 7), Err(WireError::IndexRange { part: 7, index: 40, space: 40 }));
        let padding = Err(WireError::IndexPadding { part: 7, bytes: 3, end: 7 });
        assert_eq!(decode(&bytes, 1, 2, 41, 7), padding);
        // Zeros alone, far longer than a word, announce an index that never comes.
        assert_eq!(decode(&[0; 1000], 3, 1, u32::MAX, 7), count(1, 1000, 0));
    }
}
