//! Codes of 1 to 8 bits, packed one after the other, low bits first. Codes in, bytes out, and back: eight codes at a time
//! fill as many bytes as a code has bits.

use super::WireError;

/// Bytes of so many codes.
pub(super) fn packed_bytes(count: usize, bits: u8) -> usize {
    // On 32-bit machines the product may not fit; no input is that long, so that reading it fails.
    (count / 8).saturating_mul(usize::from(bits)).saturating_add((count % 8 * usize::from(bits)).div_ceil(8))
}

/// True where every code fits into so many bits.
///
/// # Errors
/// When a code needs more, or the bits are not 1 to 8.
pub(super) fn check(codes: &[u8], bits: u8, part: usize) -> Result<(), WireError> {
    if !(1..=8).contains(&bits) {
        return Err(WireError::CodeBits { part, found: bits });
    }
    let beyond = |code: u8| u32::from(code) >> bits > 0;
    // All bits together first, so that it vectorizes; which code it is is for the message alone.
    if !beyond(codes.iter().fold(0, |any, code| any | code)) {
        return Ok(());
    }
    let position = codes.iter().position(|code| beyond(*code)).unwrap_or_default();
    Err(WireError::CodeRange { part, position, code: codes[position], bits })
}

/// Appends codes that passed the check.
pub(super) fn encode(codes: &[u8], bits: u8, out: &mut Vec<u8>) {
    match bits {
        1 => pack::<1>(codes, out),
        2 => pack::<2>(codes, out),
        3 => pack::<3>(codes, out),
        4 => pack::<4>(codes, out),
        5 => pack::<5>(codes, out),
        6 => pack::<6>(codes, out),
        7 => pack::<7>(codes, out),
        _ => out.extend_from_slice(codes),
    }
}

fn pack<const BITS: usize>(codes: &[u8], out: &mut Vec<u8>) {
    let (eights, rest) = codes.as_chunks::<8>();
    let word = |codes: &[u8]| {
        codes.iter().enumerate().fold(0, |word, (place, code)| word | u64::from(*code) << (place * BITS))
    };
    for eight in eights {
        out.extend_from_slice(&word(eight).to_le_bytes()[..BITS]);
    }
    out.extend_from_slice(&word(rest).to_le_bytes()[..(rest.len() * BITS).div_ceil(8)]);
}

/// Reads `count` codes out of exactly [`packed_bytes`].
///
/// # Errors
/// When the bits behind the last code are not zero.
pub(super) fn decode(bytes: &[u8], bits: u8, count: usize, part: usize) -> Result<Vec<u8>, WireError> {
    let used = count * usize::from(bits) % 8;
    let padding = bytes.last().map_or(0, |last| if used == 0 { 0 } else { last >> used });
    if padding != 0 {
        return Err(WireError::CodePadding { part, count, bits, found: padding });
    }
    Ok(match bits {
        1 => unpack::<1>(bytes, count),
        2 => unpack::<2>(bytes, count),
        3 => unpack::<3>(bytes, count),
        4 => unpack::<4>(bytes, count),
        5 => unpack::<5>(bytes, count),
        6 => unpack::<6>(bytes, count),
        7 => unpack::<7>(bytes, count),
        _ => bytes.to_vec(),
    })
}

fn unpack<const BITS: usize>(bytes: &[u8], count: usize) -> Vec<u8> {
    let mut codes = Vec::with_capacity(count.next_multiple_of(8));
    for piece in bytes.chunks(BITS) {
        let mut word = [0; 8];
        word[..piece.len()].copy_from_slice(piece);
        let word = u64::from_le_bytes(word);
        codes.extend((0..8).map(|place| (word >> (place * BITS)) as u8 & ((1 << BITS) - 1)));
    }
    codes.truncate(count);
    codes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn codes_come_back_in_the_bytes_that_were_announced(
            codes in prop::collection::vec(any::<u8>(), 0..3000), bits in 1..=8_u8,
        ) {
            let codes: Vec<u8> = codes.into_iter().map(|code| code >> (8 - bits)).collect();
            let mut bytes = Vec::new();
            check(&codes, bits, 0).unwrap();
            encode(&codes, bits, &mut bytes);
            prop_assert_eq!(bytes.len(), packed_bytes(codes.len(), bits));
            prop_assert_eq!(bytes.len(), (codes.len() * usize::from(bits)).div_ceil(8));
            prop_assert_eq!(decode(&bytes, bits, codes.len(), 0).unwrap(), codes);
        }
    }

    #[test]
    fn padding_must_be_zero() {
        let mut bytes = Vec::new();
        encode(&[1, 2, 3], 3, &mut bytes);
        assert_eq!(bytes, [0b1101_0001, 0]);
        let refused = decode(&[0b1101_0001, 0b10], 3, 3, 4);
        assert_eq!(refused, Err(WireError::CodePadding { part: 4, count: 3, bits: 3, found: 1 }));
        assert_eq!(decode(&[0xff], 1, 8, 0), Ok(vec![1; 8]));
        assert!(decode(&[0xff], 1, 7, 0).is_err());
        assert_eq!(decode(&[], 5, 0, 0), Ok(vec![]));
    }

    #[test]
    fn codes_beyond_their_bits_are_named() {
        assert_eq!(check(&[0, 3, 4], 2, 1), Err(WireError::CodeRange { part: 1, position: 2, code: 4, bits: 2 }));
        let text = check(&[8], 3, 0).unwrap_err().to_string();
        assert_eq!(text, "code 0 of part 0 is 8, its 3 bits hold up to 7");
        assert_eq!(check(&[255], 8, 1), Ok(()));
        for found in [0, 9] {
            assert_eq!(check(&[], found, 1), Err(WireError::CodeBits { part: 1, found }));
        }
    }
}
