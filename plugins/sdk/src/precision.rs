//! Forms of chosen values in messages: floats, codes with their few levels beside them, or signs with one magnitude.
//!
//! In: `bits` of the settings. Out: [`Precision`], which puts values into a message and takes them out again, and the two
//! functions that most sparse policies consist of, [`put_chosen`] and [`take_chosen`].

use crate::{IndexSet, Message, PolicyError, ValueCoding, Vector, bad_option};

/// Rounds of Lloyd's algorithm for the levels of a message: cheap beside the sorting, and ten leave 4 bits 30 % too coarse.
const LLOYD_ROUNDS: u32 = 100;

/// The form of a message's values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Precision {
    /// One bit a value, and the mean magnitude of all as one f32: `sign(x) * mean |x|`. Zero has the sign minus.
    Signs,
    /// So many bits a value: the nearest of `2^bits` levels, which travel as bf16 (f16 would lose deltas below 6e-8).
    Levels(u8),
    /// As floats.
    Floats(ValueCoding),
}

impl Precision {
    /// 1 bit is signs, 2 to 4 bits are levels, 16 is f16, 32 is f32; other bits are a bad option.
    pub fn from_bits(bits: u32) -> Result<Self, PolicyError> {
        match bits {
            1 => Ok(Self::Signs),
            2 => Ok(Self::Levels(2)),
            3 => Ok(Self::Levels(3)),
            4 => Ok(Self::Levels(4)),
            16 => Ok(Self::Floats(ValueCoding::F16)),
            32 => Ok(Self::Floats(ValueCoding::F32)),
            bits => Err(bad_option("bits", bits, "1, 2, 3, 4, 16 or 32")),
        }
    }

    /// Appends the values. Levels of values that are not finite do not exist: with less than 16 bits those are an error.
    pub fn put(self, into: &Message, values: &Vector) -> Result<(), PolicyError> {
        match self {
            Self::Floats(coding) => into.put_values(coding, values),
            _ if !values.norm().is_finite() => {
                return Err(PolicyError::Other("a value to encode is not finite".into()));
            }
            Self::Signs => {
                let magnitudes = values.copy();
                magnitudes.absolute();
                let mean = magnitudes.sum() / f64::from(values.len().max(1));
                into.put_values(ValueCoding::F32, &vector_of(&[mean as f32]));
                into.put_codes(&values.quantize(&[-1.0, 1.0]));
            }
            Self::Levels(bits) => {
                let levels = as_bf16(&values.lloyd_levels(1 << bits, LLOYD_ROUNDS));
                into.put_values(ValueCoding::Bf16, &vector_of(&levels));
                into.put_codes(&values.quantize(&levels));
            }
        }
        Ok(())
    }

    /// Takes `count` values.
    pub fn take(self, message: &Message, count: u32) -> Result<Vector, PolicyError> {
        let (bits, levels) = match self {
            Self::Floats(coding) => return message.take_values(coding, count),
            Self::Signs => {
                let mean = message.take_values(ValueCoding::F32, 1)?.read(0, 1);
                (1, mean.iter().flat_map(|mean| [-mean, *mean]).collect())
            }
            Self::Levels(bits) => (bits, message.take_values(ValueCoding::Bf16, 1 << bits)?.read(0, 1 << bits)),
        };
        let codes = message.take_codes(bits, count)?;
        codes.dequantize(&levels).map_err(PolicyError::BadMessage)
    }
}

/// Appends the coordinates and the values at them; all values of a vector travel without coordinates.
pub fn put_chosen(into: &Message, chosen: &IndexSet, values: &Vector, precision: Precision) -> Result<(), PolicyError> {
    if chosen.count() == values.len() {
        return precision.put(into, values);
    }
    into.put_indices(chosen);
    precision.put(into, &values.gather(chosen))
}

/// Takes what [`put_chosen`] put for `count` of `len` values: a vector that is zero at the other coordinates.
pub fn take_chosen(message: &Message, len: u32, count: u32, precision: Precision) -> Result<Vector, PolicyError> {
    if count == len {
        return precision.take(message, count);
    }
    let chosen = message.take_indices(len)?;
    if chosen.count() != count {
        let found = chosen.count();
        return Err(PolicyError::BadMessage(format!("{found} indices found, {count} expected")));
    }
    let whole = Vector::new(len);
    whole.scatter(&chosen, &precision.take(message, count)?);
    Ok(whole)
}

fn vector_of(values: &[f32]) -> Vector {
    let vector = Vector::new(values.len() as u32);
    vector.write(0, values);
    vector
}

/// Increasing levels, rounded to what bf16 can hold and still increasing: of two that fall together the later one moves up.
fn as_bf16(levels: &[f32]) -> Vec<f32> {
    let mut rounded: Vec<f32> = Vec::with_capacity(levels.len());
    for level in levels {
        let bits = level.to_bits();
        let nearest = f32::from_bits((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000);
        let least = rounded.last().map_or(f32::NEG_INFINITY, |before| next_bf16(*before));
        rounded.push(nearest.max(least));
    }
    rounded
}

/// The next larger value that bf16 can hold.
fn next_bf16(value: f32) -> f32 {
    let bits = value.to_bits();
    if value == 0.0 {
        f32::from_bits(0x1_0000)
    } else if value > 0.0 {
        f32::from_bits(bits + 0x1_0000)
    } else {
        f32::from_bits(bits - 0x1_0000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Codes, Part};

    const ALL: [u32; 6] = [1, 2, 3, 4, 16, 32];

    fn through(bits: u32, values: &Vector) -> Vector {
        let (message, precision) = (Message::default(), Precision::from_bits(bits).unwrap());
        precision.put(&message, values).unwrap();
        let back = precision.take(&message, values.len()).unwrap();
        assert!(message.parts().is_empty());
        back
    }

    #[test]
    fn more_bits_are_nearer_and_signs_keep_the_mean_magnitude() {
        let values = Vector::random_normal(50_000, 1, 2);
        let norm = values.norm().powi(2);
        let errors = ALL.map(|bits| through(bits, &values).distance(&values).powi(2) / norm);
        assert!(errors.is_sorted_by(|more, less| more > less), "{errors:?}");
        // Max (1960): the best 2, 4, 8 and 16 levels of a normal leave these shares.
        for (error, known) in errors.iter().zip([0.3634, 0.1175, 0.03454, 0.009497]) {
            assert!((error / known - 1.0).abs() < 0.05, "{errors:?}");
        }
        let signs = through(1, &Vector::from_values(vec![3.0, -1.0, 0.0, 4.0]));
        assert_eq!(signs.values(), [2.0, -2.0, -2.0, 2.0]);
    }

    #[test]
    fn coding_what_was_decoded_changes_nothing_more() {
        let values = Vector::random_normal(1000, 1, 2);
        for bits in [1, 16, 32] {
            let once = through(bits, &values);
            assert_eq!(through(bits, &once).values(), once.values(), "{bits} bits");
        }
    }

    #[test]
    fn few_equal_or_tiny_values_have_levels_too() {
        for values in [vec![1.0; 5], vec![0.0; 3], vec![-1e-30, 1e-30], vec![], vec![7.0], vec![-f32::MIN_POSITIVE; 2]]
        {
            for bits in [2, 3, 4] {
                let back = through(bits, &Vector::from_values(values.clone()));
                for (value, got) in values.iter().zip(back.values()) {
                    assert!((got - value).abs() <= value.abs() / 128.0 + 1e-37, "{bits} bits: {value} became {got}");
                }
            }
        }
    }

    #[test]
    fn levels_that_fall_together_move_apart() {
        let levels: Vec<f32> = (-8..8).map(|i| 1.0 + i as f32 * f32::EPSILON).collect();
        for levels in [levels.clone(), levels.iter().map(|level| -level).rev().collect(), vec![-1e-45, 0.0, 1e-45]] {
            let rounded = as_bf16(&levels);
            assert!(rounded.is_sorted_by(|one, next| one < next), "{rounded:?}");
            assert!(rounded.iter().all(|level| level.to_bits().trailing_zeros() >= 16 || *level == 0.0));
        }
    }

    #[test]
    fn other_bits_are_a_bad_option_and_values_that_are_not_finite_an_error() {
        for bits in [0, 5, 8, 64] {
            let refused = Precision::from_bits(bits);
            assert_eq!(refused, Err(bad_option("bits", bits, "1, 2, 3, 4, 16 or 32")));
        }
        for bad in [f32::NAN, f32::INFINITY] {
            let values = Vector::from_values(vec![1.0, bad]);
            assert!(Precision::Signs.put(&Message::default(), &values).is_err());
            assert!(Precision::Levels(2).put(&Message::default(), &values).is_err());
        }
    }

    #[test]
    fn hostile_parts_are_bad_messages() {
        let indices = || Part::Indices(IndexSet::from_list(8, &[1, 2]).unwrap());
        let floats = |coding, count: usize| Part::Values(coding, vec![1.0; count].into());
        let codes = |bits| Part::Codes(Codes::from_list(bits, &[0, 1]));
        let bad = [
            vec![],
            vec![indices()],
            vec![indices(), floats(ValueCoding::F32, 1)],
            vec![indices(), floats(ValueCoding::F32, 1), codes(2)],
            vec![indices(), floats(ValueCoding::F16, 1), codes(1)],
            vec![indices(), floats(ValueCoding::F32, 2), codes(1)],
            vec![Part::Indices(IndexSet::from_list(8, &[1]).unwrap()), floats(ValueCoding::F32, 1), codes(1)],
            vec![Part::Indices(IndexSet::from_list(9, &[1, 2]).unwrap()), floats(ValueCoding::F32, 1), codes(1)],
            vec![Part::Bytes(vec![0; 9])],
        ];
        for parts in bad {
            let taken = take_chosen(&Message::from_parts(parts.clone()), 8, 2, Precision::Signs);
            assert!(matches!(taken, Err(PolicyError::BadMessage(_))), "{parts:?}");
        }
        let good = vec![indices(), floats(ValueCoding::F32, 1), codes(1)];
        let taken = take_chosen(&Message::from_parts(good), 8, 2, Precision::Signs).unwrap();
        assert_eq!(taken.values(), [0.0, -1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    }
}
