//! Values as safetensors files store them: bytes of f32, f16 or bf16 to f32 and back.

use std::panic::{AssertUnwindSafe, catch_unwind};

use half::{bf16, f16};
use safetensors::Dtype;

/// The result of a parser of others for bytes that come from anywhere: a panic in it is an error, too.
///
/// # Errors
/// The parser's message, or that it panicked.
pub fn parsed<'a, T, E: std::fmt::Display>(
    bytes: &'a [u8],
    parser: impl FnOnce(&'a [u8]) -> Result<T, E>,
) -> Result<T, String> {
    let parsed = catch_unwind(AssertUnwindSafe(|| parser(bytes)));
    parsed.map_err(|_| "its parser panicked".to_owned())?.map_err(|error| error.to_string())
}

/// Little-endian bytes as f32; `None` for a type that is not read.
pub fn floats(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    let pairs = || bytes.as_chunks::<2>().0.iter();
    match dtype {
        Dtype::F32 => Some(bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()),
        Dtype::F16 => Some(pairs().map(|bytes| f16::from_le_bytes(*bytes).to_f32()).collect()),
        Dtype::BF16 => Some(pairs().map(|bytes| bf16::from_le_bytes(*bytes).to_f32()).collect()),
        _ => None,
    }
}

/// Values as little-endian bytes, each rounded to the nearest of the type; `None` for a type that is not written.
pub fn bytes(dtype: Dtype, values: &[f32]) -> Option<Vec<u8>> {
    match dtype {
        Dtype::F32 => Some(values.iter().flat_map(|value| value.to_le_bytes()).collect()),
        Dtype::F16 => Some(values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect()),
        Dtype::BF16 => Some(values.iter().flat_map(|value| bf16::from_f32(*value).to_le_bytes()).collect()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parser_that_panics_is_an_error() {
        let parse = |bytes: &[u8]| -> Result<u8, std::fmt::Error> { Ok(bytes[3]) };
        assert_eq!(parsed(&[0, 1, 2, 3], parse), Ok(3));
        assert_eq!(parsed(&[0], parse), Err("its parser panicked".into()));
    }

    #[test]
    fn values_that_a_type_has_come_back_as_they_went() {
        for dtype in [Dtype::F32, Dtype::F16, Dtype::BF16] {
            let values = [1.0, -2.5, 0.15625, 0.0];
            assert_eq!(floats(dtype, &bytes(dtype, &values).unwrap()).unwrap(), values);
        }
        assert_eq!(bytes(Dtype::BF16, &[1.0 + 1.0 / 256.0 + 1e-6]).unwrap(), bytes(Dtype::BF16, &[1.0078125]).unwrap());
        assert_eq!((floats(Dtype::I64, &[0; 8]), bytes(Dtype::I64, &[0.0])), (None, None));
    }
}
