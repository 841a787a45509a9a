//! A set of coordinates as one bit each: how a mask lies in memory. Eight times smaller than a vector of flags would be
//! at any density above 1/32, and of one size, so that the memory of a run can be foretold.

/// Bytes that `space` bits take.
pub fn bytes_of(space: u32) -> usize {
    space.div_ceil(8) as usize
}

/// Sets the bits of `indices`, which lie below eight times the length of `bits`.
pub fn set(bits: &mut [u8], indices: &[u32]) {
    for index in indices {
        bits[(index / 8) as usize] |= 1 << (index % 8);
    }
}

/// The coordinates whose bits are set, in order; the error says what does not fit `space`.
pub fn indices(bits: &[u8], space: u32) -> Result<Vec<u32>, String> {
    if bits.len() != bytes_of(space) {
        return Err(format!("a bitmap of {} bytes found, {} expected", bits.len(), bytes_of(space)));
    }
    let mut found = Vec::new();
    for (byte, bits) in (0_u32..).zip(bits) {
        let mut left = *bits;
        while left != 0 {
            found.push(byte * 8 + left.trailing_zeros());
            left &= left - 1;
        }
    }
    match found.last() {
        Some(last) if *last >= space => Err(format!("a bitmap with coordinate {last}, {space} is the first too many")),
        _ => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_found() {
        let mut bits = vec![0; bytes_of(19)];
        set(&mut bits, &[0, 7, 8, 18]);
        assert_eq!(bits, [0b1000_0001, 1, 0b100]);
        assert_eq!(indices(&bits, 19), Ok(vec![0, 7, 8, 18]));
    }

    #[test]
    fn a_bitmap_of_another_size_is_refused() {
        assert!(indices(&[0; 3], 16).is_err());
        assert!(indices(&[0, 0, 0b1000], 19).is_err());
    }
}
