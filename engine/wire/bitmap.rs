//! One bit a coordinate, low bits first: the cheapest coding around density one half. Indices in, bytes out, and back.

use super::WireError;

/// Bytes of a bitmap of `space` coordinates.
pub(super) fn size_bytes(space: u32) -> u64 {
    u64::from(space).div_ceil(8)
}

/// Appends the bitmap of indices below `space`.
pub(super) fn encode(indices: &[u32], space: u32, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + size_bytes(space) as usize, 0);
    let map = &mut out[start..];
    for index in indices {
        map[*index as usize / 8] |= 1 << (index % 8);
    }
}

/// Reads exactly `count` indices below `space` out of exactly these bytes.
///
/// # Errors
/// When the number of bytes is not that of the space, or the number of ones is not `count`, or one lies beyond `space`.
pub(super) fn decode(bytes: &[u8], count: usize, space: u32, part: usize) -> Result<Vec<u32>, WireError> {
    let (words, tail) = bytes.as_chunks();
    let mut last = [0; 8];
    last[..tail.len()].copy_from_slice(tail);
    let words = || words.iter().chain([&last]).map(|word| u64::from_le_bytes(*word));
    let found = words().map(|word| word.count_ones() as usize).sum();
    if found != count || bytes.len() as u64 != size_bytes(space) {
        return Err(WireError::IndexCount { part, expected: count, bytes: bytes.len(), found });
    }
    let mut indices = Vec::with_capacity(count);
    for (number, mut word) in words().enumerate() {
        while word != 0 {
            indices.push(number as u32 * 64 + word.trailing_zeros());
            word &= word - 1;
        }
    }
    match indices.last() {
        Some(last) if *last >= space => Err(WireError::IndexRange { part, index: u64::from(*last), space }),
        _ => Ok(indices),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_come_back_at_every_length_of_the_last_word() {
        for space in 0..200 {
            let indices: Vec<u32> = (0..space).filter(|index| index % 3 != 1).collect();
            let mut bytes = Vec::new();
            encode(&indices, space, &mut bytes);
            assert_eq!(decode(&bytes, indices.len(), space, 0), Ok(indices));
        }
    }

    #[test]
    fn a_wrong_count_a_wrong_length_and_a_bit_beyond_the_space_are_errors() {
        let count = |expected, bytes, found| WireError::IndexCount { part: 2, expected, bytes, found };
        assert_eq!(decode(&[0b11], 3, 8, 2), Err(count(3, 1, 2)));
        assert_eq!(decode(&[0b11, 0], 2, 8, 2), Err(count(2, 2, 2)));
        assert_eq!(decode(&[0b1001], 2, 3, 2), Err(WireError::IndexRange { part: 2, index: 3, space: 3 }));
    }
}
