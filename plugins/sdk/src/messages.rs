//! The parts that most compressors share: the number of values that are kept, their form in messages, and scalars beside them.

use crate::{BadOption, Context, PolicyError, ValueCoding};

/// Number of `values` values that the context's density keeps: rounded down, one at least (unless there is none).
pub fn kept(context: &Context, values: u32) -> u32 {
    share_of(context.density, values)
}

/// `density` of `values` values: rounded down, one at least (unless there is none), never more than all.
pub fn share_of(density: f64, values: u32) -> u32 {
    // 0.29 of 100 is 28.999999999999996 in floating point, and 29 are meant.
    let share = density * f64::from(values) * (1.0 + 1e-12);
    (share as u32).max(1).min(values)
}

/// f16 for 16 bits, f32 for 32; other bits are a bad option.
pub fn value_coding(bits: u32) -> Result<ValueCoding, PolicyError> {
    match bits {
        16 => Ok(ValueCoding::F16),
        32 => Ok(ValueCoding::F32),
        bits => Err(bad_option("bits", bits, "16 or 32")),
    }
}

/// The error for an option that fits its kind and still cannot be.
pub fn bad_option(name: &str, found: impl ToString, allowed: &str) -> PolicyError {
    PolicyError::BadOption(BadOption { name: name.into(), found: found.to_string(), allowed: allowed.into() })
}

/// Scalars as bytes, little endian, for `Message::put_bytes` and `save_bytes`: `Packed::default().u32(3).f32(0.5).bytes()`.
#[derive(Debug, Clone, Default)]
pub struct Packed(Vec<u8>);

impl Packed {
    /// Appends four bytes.
    pub fn f32(mut self, value: f32) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    /// Appends eight bytes.
    pub fn f64(mut self, value: f64) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    /// Appends four bytes.
    pub fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    /// Appends eight bytes.
    pub fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    /// Appends four bytes for each value, without their number.
    pub fn f32s(mut self, values: &[f32]) -> Self {
        values.iter().for_each(|value| self.0.extend(value.to_le_bytes()));
        self
    }

    /// All of it.
    pub fn bytes(self) -> Vec<u8> {
        self.0
    }
}

/// Takes apart what [`Packed`] made. Bytes come from the outside: too few, or some left over, are a bad message.
#[derive(Debug, Clone, Copy)]
pub struct Unpacked<'a>(&'a [u8]);

impl<'a> Unpacked<'a> {
    /// At the beginning of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], PolicyError> {
        let Some((head, rest)) = self.0.split_first_chunk::<N>() else {
            return Err(PolicyError::BadMessage(format!("{} bytes of scalars left, {N} expected", self.0.len())));
        };
        self.0 = rest;
        Ok(*head)
    }

    /// The next four bytes.
    pub fn f32(&mut self) -> Result<f32, PolicyError> {
        self.take().map(f32::from_le_bytes)
    }

    /// The next eight bytes.
    pub fn f64(&mut self) -> Result<f64, PolicyError> {
        self.take().map(f64::from_le_bytes)
    }

    /// The next four bytes.
    pub fn u32(&mut self) -> Result<u32, PolicyError> {
        self.take().map(u32::from_le_bytes)
    }

    /// The next eight bytes.
    pub fn u64(&mut self) -> Result<u64, PolicyError> {
        self.take().map(u64::from_le_bytes)
    }

    /// The next `count` values.
    pub fn f32s(&mut self, count: usize) -> Result<Vec<f32>, PolicyError> {
        if self.0.len() / 4 < count {
            return Err(PolicyError::BadMessage(format!(
                "{} bytes of scalars left, {count} x 4 expected",
                self.0.len()
            )));
        }
        (0..count).map(|_| self.f32()).collect()
    }

    /// Nothing may be left.
    pub fn end(self) -> Result<(), PolicyError> {
        match self.0.len() {
            0 => Ok(()),
            left => Err(PolicyError::BadMessage(format!("{left} bytes of scalars left, 0 expected"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_least_one_value_is_kept_and_never_more_than_all() {
        assert_eq!(share_of(0.25, 1001), 250);
        assert_eq!((share_of(0.29, 100), share_of(0.57, 10_000_000)), (29, 5_700_000));
        assert_eq!(share_of(0.289_999, 100), 28);
        assert_eq!(share_of(1e-9, 1000), 1);
        assert_eq!(share_of(1.0, 1000), 1000);
        assert_eq!(share_of(0.5, 0), 0);
    }

    #[test]
    fn scalars_come_back_and_a_wrong_number_of_bytes_is_a_bad_message() {
        let bytes = Packed::default().u32(7).f32(0.5).f64(-1.0).u64(9).f32s(&[1.0, 2.0]).bytes();
        let mut unpacked = Unpacked::new(&bytes);
        assert_eq!((unpacked.u32(), unpacked.f32(), unpacked.f64()), (Ok(7), Ok(0.5), Ok(-1.0)));
        assert!(unpacked.end().is_err());
        assert_eq!((unpacked.u64(), unpacked.f32s(2)), (Ok(9), Ok(vec![1.0, 2.0])));
        assert!(unpacked.end().is_ok() && unpacked.f32().is_err() && unpacked.f32s(1).is_err());
    }
}
