//! Values as f32, f16 or bf16, little endian. Values in, bytes out, and back, in pieces that stay in the first-level
//! cache, so that checking them costs no second trip to memory.

use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};
use half::{bf16, f16};

use super::WireError;
use crate::adapter::ValueCoding;

const PIECE: usize = 1024;

/// Bytes of one value.
pub(super) fn value_bytes(coding: ValueCoding) -> usize {
    match coding {
        ValueCoding::F32 => 4,
        ValueCoding::F16 | ValueCoding::Bf16 => 2,
    }
}

/// Appends the values, rounded to nearest even. NaN and infinities pass; what they mean is the decoder's rule.
///
/// # Errors
/// When a finite value would become an infinity.
pub(super) fn encode(values: &[f32], coding: ValueCoding, part: usize, out: &mut Vec<u8>) -> Result<(), WireError> {
    for (number, piece) in values.chunks(PIECE).enumerate() {
        let mut bytes = [0; PIECE * 4];
        let bytes = &mut bytes[..piece.len() * value_bytes(coding)];
        match coding {
            ValueCoding::F32 => {
                for (to, from) in bytes.as_chunks_mut().0.iter_mut().zip(piece) {
                    *to = from.to_le_bytes();
                }
            }
            ValueCoding::F16 | ValueCoding::Bf16 => {
                let mut halves = [0; PIECE];
                let halves = &mut halves[..piece.len()];
                round(piece, coding, halves);
                check_overflow(piece, halves, coding, part, number * PIECE)?;
                for (to, from) in bytes.as_chunks_mut().0.iter_mut().zip(&*halves) {
                    *to = from.to_le_bytes();
                }
            }
        }
        out.extend_from_slice(bytes);
    }
    Ok(())
}

fn round(values: &[f32], coding: ValueCoding, halves: &mut [u16]) {
    if coding == ValueCoding::F16 {
        halves.reinterpret_cast_mut::<f16>().convert_from_f32_slice(values);
    } else {
        halves.reinterpret_cast_mut::<bf16>().convert_from_f32_slice(values);
    }
}

fn check_overflow(
    values: &[f32],
    halves: &[u16],
    coding: ValueCoding,
    part: usize,
    first: usize,
) -> Result<(), WireError> {
    let (exponent, largest): (u16, f32) = match coding {
        ValueCoding::F16 => (0x7c00, f16::MAX.to_f32()),
        ValueCoding::Bf16 | ValueCoding::F32 => (0x7f80, bf16::MAX.to_f32()),
    };
    // Adding one to an exponent of all ones carries into the sign's place, which vectorizes; looking for the value
    // can then be slow.
    let lowest = exponent & exponent.wrapping_neg();
    if halves.iter().fold(0, |any, half| any | ((half & exponent) + lowest)) < 0x8000 {
        return Ok(());
    }
    let overflows = |(value, half): (&f32, &u16)| value.is_finite() && half & exponent == exponent;
    match values.iter().zip(halves).position(overflows) {
        Some(at) => Err(WireError::Overflow { part, position: first + at, value: values[at], coding, largest }),
        None => Ok(()),
    }
}

/// Reads all values out of exactly these bytes (their number divides by the bytes of a value).
///
/// # Errors
/// When `finite` is asked for and a value is not.
pub(super) fn decode(bytes: &[u8], coding: ValueCoding, finite: bool, part: usize) -> Result<Vec<f32>, WireError> {
    let size = value_bytes(coding);
    let mut values = Vec::with_capacity(bytes.len() / size);
    for piece in bytes.chunks(PIECE * size) {
        let first = values.len();
        match coding {
            ValueCoding::F32 => values.extend(piece.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes))),
            ValueCoding::F16 | ValueCoding::Bf16 => {
                let mut halves = [0; PIECE];
                let mut wide = [0.0; PIECE];
                let halves = &mut halves[..piece.len() / 2];
                let wide = &mut wide[..piece.len() / 2];
                for (to, from) in halves.iter_mut().zip(piece.as_chunks().0) {
                    *to = u16::from_le_bytes(*from);
                }
                if coding == ValueCoding::F16 {
                    halves.reinterpret_cast::<f16>().convert_to_f32_slice(wide);
                } else {
                    halves.reinterpret_cast::<bf16>().convert_to_f32_slice(wide);
                }
                values.extend_from_slice(wide);
            }
        }
        if finite {
            check_finite(&values, first, part)?;
        }
    }
    Ok(values)
}

/// An error where a value from number `first` on is not finite.
pub(super) fn check_finite(values: &[f32], first: usize, part: usize) -> Result<(), WireError> {
    match first_not_finite(&values[first..]) {
        Some(at) => Err(WireError::NotFinite { part, position: first + at, value: values[first + at] }),
        None => Ok(()),
    }
}

/// The place of the first value that is NaN or infinite.
pub(super) fn first_not_finite(values: &[f32]) -> Option<usize> {
    const EXPONENT: u32 = 0x7f80_0000;
    let any = values.iter().fold(0, |any, value| any | ((value.to_bits() & EXPONENT) + (1 << 23)));
    if any < 1 << 31 { None } else { values.iter().position(|value| !value.is_finite()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn there_and_back(values: &[f32], coding: ValueCoding) -> Vec<f32> {
        let mut bytes = Vec::new();
        encode(values, coding, 0, &mut bytes).unwrap();
        assert_eq!(bytes.len(), values.len() * value_bytes(coding));
        decode(&bytes, coding, true, 0).unwrap()
    }

    proptest! {
        #[test]
        fn values_come_back_rounded_to_nearest_even(
            values in prop::collection::vec(-6e4_f32..6e4, 0..3000), tiny in -1e-6_f32..1e-6,
        ) {
            let values: Vec<f32> = values.into_iter().chain([tiny, 0.0, -0.0, f32::MIN_POSITIVE]).collect();
            prop_assert_eq!(there_and_back(&values, ValueCoding::F32), &values[..]);
            let rounded: Vec<f32> = values.iter().map(|value| f16::from_f32(*value).to_f32()).collect();
            prop_assert_eq!(there_and_back(&values, ValueCoding::F16), rounded);
            let rounded: Vec<f32> = values.iter().map(|value| bf16::from_f32(*value).to_f32()).collect();
            prop_assert_eq!(there_and_back(&values, ValueCoding::Bf16), rounded);
        }
    }

    #[test]
    fn a_finite_value_that_would_become_infinite_is_an_error() {
        for (coding, value, largest) in
            [(ValueCoding::F16, 65_520.0, 65_504.0), (ValueCoding::Bf16, f32::MAX, 3.3895314e38)]
        {
            let mut values = vec![1.0; 3000];
            values[2500] = value;
            let expected = WireError::Overflow { part: 4, position: 2500, value, coding, largest };
            assert_eq!(encode(&values, coding, 4, &mut Vec::new()), Err(expected));
        }
        assert_eq!(there_and_back(&[65_519.0], ValueCoding::F16), [65_504.0]);
    }

    #[test]
    fn nan_and_infinities_are_found_where_they_are_and_pass_when_allowed() {
        for coding in [ValueCoding::F32, ValueCoding::F16, ValueCoding::Bf16] {
            for value in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
                let mut values = vec![1.0; 3000];
                values[2999] = value;
                let mut bytes = Vec::new();
                encode(&values, coding, 0, &mut bytes).unwrap();
                let error = decode(&bytes, coding, true, 5).unwrap_err();
                assert!(matches!(error, WireError::NotFinite { part: 5, position: 2999, .. }), "{error}");
                assert_eq!(decode(&bytes, coding, false, 5).unwrap()[2999].is_nan(), value.is_nan());
            }
        }
    }
}
