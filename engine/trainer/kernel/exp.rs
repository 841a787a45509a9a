//! `exp` for slices: a polynomial that the compiler turns into vector instructions, the same bits on every machine.

/// `e^x`, relative error below 2e-7; x below -87 gives 0, above 88 about 1.7e38, NaN stays NaN.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    // Adding and subtracting 1.5 * 2^23 rounds to the nearest whole number, which the sum also holds in its low bits.
    const ROUND: f32 = 12_582_912.0;
    let tiny = x < -87.0;
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    // ln 2 in two parts, so that the remainder is exact.
    let rest = x - whole * 0.693_359_4 - whole * -2.121_944_4e-4;
    let tail = 1.987_569_1e-4 * rest + 1.398_2e-3;
    let tail = tail * rest + 8.333_452e-3;
    let tail = tail * rest + 4.166_579_6e-2;
    let tail = tail * rest + 1.666_666_5e-1;
    let tail = tail * rest + 0.5;
    let mantissa = tail * rest * rest + rest + 1.0;
    let power = mantissa * f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    // Not the smallest normal number: products with it are subnormal, and those cost a hundred times a normal one.
    if tiny { 0.0 } else { power }
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// The largest value, folded over eight lanes; `NEG_INFINITY` where empty.
#[inline(always)]
pub(super) fn max(values: &[f32]) -> f32 {
    fold(values, f32::NEG_INFINITY, |largest, value| if value > largest { value } else { largest })
}

/// The sum, folded over eight lanes in an order that never changes.
#[inline(always)]
pub(super) fn sum(values: &[f32]) -> f32 {
    fold(values, 0.0, |sum, value| sum + value)
}

/// The dot product of two slices of one length.
#[inline(always)]
pub(super) fn dot(left: &[f32], right: &[f32]) -> f32 {
    let (left, left_rest) = left.as_chunks::<LANES>();
    let (right, right_rest) = right.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for (left, right) in left.iter().zip(right) {
        for lane in 0..LANES {
            lanes[lane] += left[lane] * right[lane];
        }
    }
    let rest: f32 = left_rest.iter().zip(right_rest).map(|(left, right)| left * right).sum();
    lanes.iter().sum::<f32>() + rest
}

const LANES: usize = 8;

#[inline(always)]
fn fold(values: &[f32], start: f32, join: impl Fn(f32, f32) -> f32) -> f32 {
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut lanes = [start; LANES];
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] = join(lanes[lane], chunk[lane]);
        }
    }
    lanes.iter().chain(rest).fold(start, |left, right| join(left, *right))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_agrees_with_the_standard_library() {
        for step in -8_000..=8_000 {
            let x = step as f32 * 0.01;
            let expected = f64::from(x).exp();
            assert!(((f64::from(exp(x)) - expected) / expected).abs() < 2e-7, "exp({x}) = {}", exp(x));
        }
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(f32::NEG_INFINITY) == 0.0 && exp(f32::MIN) == 0.0 && exp(1000.0) > 1e38 && exp(f32::NAN).is_nan());
    }

    #[test]
    fn sums_and_maxima_are_those_of_a_plain_loop() {
        let values: Vec<f32> = (0..21).map(|number| ((number * 7) % 13) as f32 - 5.0).collect();
        assert_eq!(max(&values), 7.0);
        assert_eq!(sum(&values), values.iter().sum::<f32>());
        assert_eq!(dot(&values, &values), values.iter().map(|value| value * value).sum::<f32>());
        assert_eq!((max(&[]), sum(&[])), (f32::NEG_INFINITY, 0.0));
    }
}
