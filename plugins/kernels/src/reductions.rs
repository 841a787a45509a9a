//! Sums over a whole vector: f64, eight lanes, lane j takes the values j, j + 8, …, and the lanes are added in pairs. The
//! order is fixed, so the result is, and eight lanes leave the compiler free to use vector registers.

const LANES: usize = 8;

/// Adds the lanes: ((0+4)+(2+6))+((1+5)+(3+7)).
fn join(lanes: [f64; LANES]) -> f64 {
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

fn sum_of(values: &[f32], term: impl Fn(f64) -> f64) -> f64 {
    let mut lanes = [0.0; LANES];
    let (whole, rest) = values.as_chunks::<LANES>();
    for chunk in whole {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += term(f64::from(*value));
        }
    }
    for (lane, value) in lanes.iter_mut().zip(rest) {
        *lane += term(f64::from(*value));
    }
    join(lanes)
}

fn sum_of_pairs(a: &[f32], b: &[f32], term: impl Fn(f64, f64) -> f64) -> f64 {
    assert_eq!(a.len(), b.len(), "a sum over pairs: lengths differ");
    let mut lanes = [0.0; LANES];
    let ((whole_a, rest_a), (whole_b, rest_b)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (chunk_a, chunk_b) in whole_a.iter().zip(whole_b) {
        for (lane, (a, b)) in lanes.iter_mut().zip(chunk_a.iter().zip(chunk_b)) {
            *lane += term(f64::from(*a), f64::from(*b));
        }
    }
    for (lane, (a, b)) in lanes.iter_mut().zip(rest_a.iter().zip(rest_b)) {
        *lane += term(f64::from(*a), f64::from(*b));
    }
    join(lanes)
}

/// Square root of the sum of squares.
pub fn norm(values: &[f32]) -> f64 {
    sum_of(values, |value| value * value).sqrt()
}

/// Sum of the values.
pub fn sum(values: &[f32]) -> f64 {
    sum_of(values, |value| value)
}

/// Sum of the products.
pub fn dot(a: &[f32], b: &[f32]) -> f64 {
    sum_of_pairs(a, b, |a, b| a * b)
}

/// Norm of the difference.
pub fn distance(a: &[f32], b: &[f32]) -> f64 {
    sum_of_pairs(a, b, |a, b| (a - b) * (a - b)).sqrt()
}

/// Largest absolute value; 0 of nothing, NaN where there is one.
pub fn max_abs(values: &[f32]) -> f32 {
    // The bits of absolute values are ordered as the values are, and NaN lies above all.
    let largest = values.iter().fold(0, |largest, value| largest.max(value.to_bits() & 0x7fff_ffff));
    f32::from_bits(largest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn sums_agree_with_plain_loops(pairs in proptest::collection::vec((-1e3_f32..1e3, -1e3_f32..1e3), 0..200)) {
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.iter().copied().unzip();
            let plain = |term: &dyn Fn(f64, f64) -> f64| -> f64 {
                pairs.iter().map(|(a, b)| term(f64::from(*a), f64::from(*b))).sum()
            };
            prop_assert!((sum(&a) - plain(&|a, _| a)).abs() < 1e-6);
            prop_assert!((dot(&a, &b) - plain(&|a, b| a * b)).abs() < 1e-3);
            prop_assert!((norm(&a) - plain(&|a, _| a * a).sqrt()).abs() < 1e-6);
            prop_assert!((distance(&a, &b) - plain(&|a, b| (a - b) * (a - b)).sqrt()).abs() < 1e-6);
            prop_assert_eq!(max_abs(&a), a.iter().fold(0.0_f32, |largest, value| largest.max(value.abs())));
        }
    }

    #[test]
    fn the_order_of_addition_is_pinned() {
        let values: Vec<f32> = (0..1003).map(|i| (i as f32 * 0.37 - 100.0) * 1.000_1).collect();
        let mut lanes = [0.0_f64; 8];
        for (i, value) in values.iter().enumerate() {
            lanes[i % 8] += f64::from(*value);
        }
        let by_hand = ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
        assert_eq!(sum(&values).to_bits(), by_hand.to_bits());
    }

    #[test]
    fn nan_shows_in_the_largest_value() {
        assert!(max_abs(&[1.0, f32::NAN, f32::INFINITY]).is_nan());
        assert_eq!(max_abs(&[]), 0.0);
    }
}
