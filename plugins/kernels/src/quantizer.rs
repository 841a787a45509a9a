//! Scalar quantizers: values to codes of a few levels, and back.

use crate::random::{each_block, share};

/// Up to this many levels every threshold is compared with every value: that goes in vector registers.
const FEW: usize = 16;
/// Values that are quantized before the next ones are looked at.
const BLOCK: usize = 1024;
/// Values from which levels are found; of more an even sample is taken.
const SAMPLE: usize = 1 << 18;

/// The fewest bits that hold the codes of so many levels, 1 at least.
pub fn bits_for(levels: usize) -> u8 {
    (usize::BITS - levels.saturating_sub(1).leading_zeros()).max(1) as u8
}

/// The largest single that is not above `value`.
fn not_above(value: f64) -> f32 {
    let near = value as f32;
    if f64::from(near) > value { near.next_down() } else { near }
}

/// For each value how many of the increasing `thresholds` lie below it; 0 for NaN.
fn count_below(values: &[f32], thresholds: &[f32]) -> Vec<u8> {
    assert!(thresholds.len() < 256, "{} levels, 256 at most", thresholds.len() + 1);
    let mut codes = vec![0; values.len()];
    if thresholds.len() < FEW {
        for (values, codes) in values.chunks(BLOCK).zip(codes.chunks_mut(BLOCK)) {
            for threshold in thresholds {
                for (value, code) in values.iter().zip(codes.iter_mut()) {
                    *code += u8::from(value > threshold);
                }
            }
        }
        return codes;
    }
    // Nothing lies above infinity, so what fills up the table is never counted.
    let mut table = [f32::INFINITY; 256];
    table[..thresholds.len()].copy_from_slice(thresholds);
    // Eight searches side by side: none waits for another's load.
    let (whole, rest) = values.as_chunks::<8>();
    for (values, codes) in whole.iter().zip(codes.as_chunks_mut::<8>().0) {
        *codes = search(values, &table);
    }
    let (mut last, start) = ([0.0; 8], values.len() - rest.len());
    last[..rest.len()].copy_from_slice(rest);
    codes[start..].copy_from_slice(&search(&last, &table)[..rest.len()]);
    codes
}

/// Binary searches without branches: how many entries of the table lie below each value.
fn search(values: &[f32; 8], table: &[f32; 256]) -> [u8; 8] {
    let mut below = [0; 8];
    for step in [128, 64, 32, 16, 8, 4, 2, 1] {
        for (value, below) in values.iter().zip(&mut below) {
            *below += usize::from(*value > table[(*below + step - 1) & 255]) * step;
        }
    }
    below.map(|below| below as u8)
}

/// The code of the nearest level for each value, of two as near the lower one; NaN gets 0. Levels increase, 2 to 256.
pub fn quantize(values: &[f32], levels: &[f32]) -> Vec<u8> {
    let middle = |pair: &[f32]| not_above((f64::from(pair[0]) + f64::from(pair[1])) / 2.0);
    let thresholds: Vec<f32> = levels.windows(2).map(middle).collect();
    count_below(values, &thresholds)
}

/// One of the two levels around each value, drawn so that the expectation is the value; outside the levels the nearest.
/// The draw for value number i is word i of stream `number` under `seed`. NaN gets 0.
pub fn quantize_stochastic(values: &[f32], levels: &[f32], seed: u64, number: u64) -> Vec<u8> {
    let last = levels.len() - 1;
    // The lower neighbour is the last level that is not above the value: the first can be it without being compared.
    let above: Vec<f32> = levels[1..].iter().map(|level| level.next_down()).collect();
    let mut codes = count_below(values, &above);
    each_block(seed, number, values.len(), |first, words| {
        for ((value, code), word) in values[first..].iter().zip(&mut codes[first..]).zip(words) {
            let lower = usize::from(*code);
            let (low, high) = (f64::from(levels[lower]), f64::from(levels[(lower + 1).min(last)]));
            // At the last level the width is zero and the code stays, whatever the draw.
            let climbs = f64::from(share(*word)) * (high - low) < f64::from(*value) - low;
            *code += u8::from(climbs & (lower < last));
        }
    });
    codes
}

/// The level of each code. A code without a level is an error.
pub fn dequantize(codes: &[u8], levels: &[f32]) -> Result<Vec<f32>, String> {
    let largest = usize::from(codes.iter().copied().max().unwrap_or(0));
    if largest >= levels.len() && !codes.is_empty() {
        return Err(format!("code {largest} found, {} levels given", levels.len()));
    }
    let mut table = [0.0; 256];
    let known = levels.len().min(256);
    table[..known].copy_from_slice(&levels[..known]);
    Ok(codes.iter().map(|code| table[usize::from(*code)]).collect())
}

/// `count` increasing levels that nearly minimize the squared error of [`quantize`]: Lloyd's algorithm from even quantiles,
/// on an even sample where there are more than 262,144 values. What is not finite is left out.
pub fn lloyd_levels(values: &[f32], count: usize, iterations: u32) -> Vec<f32> {
    let sorted = sample(values);
    let mut sums = vec![0.0];
    sums.extend(sorted.iter().scan(0.0, |sum, value| {
        *sum += f64::from(*value);
        Some(*sum)
    }));
    let quantile =
        |i: usize| sorted.get((2 * i + 1) * sorted.len() / (2 * count)).map_or(0.0, |value| f64::from(*value));
    let mut levels: Vec<f64> = (0..count).map(quantile).collect();
    for _ in 0..iterations {
        let before = levels.clone();
        let mut from = 0;
        for (i, level) in levels.iter_mut().enumerate() {
            let edge = before.get(i + 1).map_or(f64::INFINITY, |next| (before[i] + next) / 2.0);
            let to = from + sorted[from..].partition_point(|value| f64::from(*value) <= edge);
            if to > from {
                *level = (sums[to] - sums[from]) / (to - from) as f64;
            }
            from = to;
        }
        if levels == before {
            break;
        }
    }
    increasing(&levels)
}

/// At most [`SAMPLE`] finite values, evenly taken, sorted.
fn sample(values: &[f32]) -> Vec<f32> {
    let count = values.len().min(SAMPLE);
    let place = |i: usize| (i as u64 * values.len() as u64 / count as u64) as usize;
    let mut sorted: Vec<f32> = (0..count).map(|i| values[place(i)]).filter(|value| value.is_finite()).collect();
    sorted.sort_unstable_by(f32::total_cmp);
    sorted
}

/// In single precision, each level pushed above the one before where values were too few or too equal.
fn increasing(levels: &[f64]) -> Vec<f32> {
    let mut out: Vec<f32> = Vec::with_capacity(levels.len());
    for level in levels {
        let least = out.last().map_or(f32::MIN, |before| before.next_up());
        out.push((*level as f32).max(least));
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{distance, random_normal};

    fn nearest(value: f32, levels: &[f32]) -> u8 {
        let mut best = 0;
        for (i, level) in levels.iter().enumerate() {
            if (f64::from(value) - f64::from(*level)).abs() < (f64::from(value) - f64::from(levels[best])).abs() {
                best = i;
            }
        }
        best as u8
    }

    proptest! {
        #[test]
        fn the_nearest_level_is_taken(
            values in proptest::collection::vec(prop_oneof![-3.0_f32..3.0, (-8_i8..8).prop_map(|i| f32::from(i) / 2.0)], 0..300),
            levels in proptest::collection::btree_set(-40_i32..40, 2..60),
        ) {
            let levels: Vec<f32> = levels.into_iter().map(|level| level as f32 / 20.0).collect();
            let codes = quantize(&values, &levels);
            prop_assert_eq!(&codes, &values.iter().map(|value| nearest(*value, &levels)).collect::<Vec<_>>());
            let back = dequantize(&codes, &levels).unwrap();
            prop_assert!(back.iter().zip(&codes).all(|(value, code)| *value == levels[usize::from(*code)]));
        }

        #[test]
        fn stochastic_codes_are_neighbours(values in proptest::collection::vec(-3.0_f32..3.0, 0..300), seed in any::<u64>()) {
            let levels = [-2.0, -0.5, 0.25, 1.0, 2.0];
            for (value, code) in values.iter().zip(quantize_stochastic(&values, &levels, seed, 1)) {
                let level = levels[usize::from(code)];
                let between = levels.iter().filter(|l| (*value < **l && **l < level) || (level < **l && **l < *value));
                prop_assert_eq!(between.count(), 0);
            }
        }
    }

    #[test]
    fn stochastic_quantizing_has_the_value_as_its_expectation() {
        let levels: Vec<f32> = (0..17).map(|i| i as f32 * 0.25 - 2.0).collect();
        for value in [-2.5_f32, -1.99, -0.1, 0.0, 0.07, 0.5, 1.3, 2.0, 7.0] {
            let codes = quantize_stochastic(&vec![value; 100_000], &levels, 3, 4);
            let mean = crate::sum(&dequantize(&codes, &levels).unwrap()) / 100_000.0;
            assert!((mean - f64::from(value.clamp(-2.0, 2.0))).abs() < 0.002, "{value}: {mean}");
        }
    }

    #[test]
    fn a_value_on_a_level_keeps_it_whatever_the_draw() {
        let levels: Vec<f32> = (0..256).map(|i| (i as f32 - 127.0) / 127.0).collect();
        for seed in 0..20 {
            assert_eq!(quantize_stochastic(&levels, &levels, seed, 0), quantize(&levels, &levels));
        }
    }

    #[test]
    fn what_is_no_number_gets_code_zero_and_infinity_the_last() {
        let values = [f32::NAN, f32::NEG_INFINITY, f32::INFINITY];
        for levels in [vec![-1.0, 1.0], (0..256).map(|i| i as f32).collect()] {
            let last = (levels.len() - 1) as u8;
            assert_eq!(quantize(&values, &levels), [0, 0, last]);
            assert_eq!(quantize_stochastic(&values, &levels, 1, 1), [0, 0, last]);
        }
    }

    #[test]
    fn a_code_without_a_level_is_an_error() {
        assert_eq!(dequantize(&[0, 3], &[1.0, 2.0]).unwrap_err(), "code 3 found, 2 levels given");
        assert_eq!(dequantize(&[], &[]).unwrap(), []);
    }

    #[test]
    fn levels_take_as_many_bits_as_they_need() {
        let counts = [1, 2, 3, 4, 5, 16, 17, 255, 256];
        assert_eq!(counts.map(bits_for), [1, 1, 2, 2, 3, 4, 5, 8, 8]);
    }

    #[test]
    fn lloyd_finds_the_known_best_levels_of_a_normal() {
        // Max (1960), table I: 4 levels, mean squared error 0.1175.
        let values = random_normal(200_000, 1, 1);
        let levels = lloyd_levels(&values, 4, 100);
        for (found, known) in levels.iter().zip([-1.510, -0.4528, 0.4528, 1.510]) {
            assert!((found - known).abs() < 0.02, "{levels:?}");
        }
        let coded = dequantize(&quantize(&values, &levels), &levels).unwrap();
        assert!((distance(&values, &coded).powi(2) / 200_000.0 - 0.1175).abs() < 0.002);
    }

    #[test]
    fn levels_increase_even_where_values_are_equal_or_missing() {
        for values in [&[][..], &[1.0; 10], &[0.0, 0.0, 5.0], &[f32::NAN, f32::INFINITY, 2.0]] {
            let levels = lloyd_levels(values, 16, 5);
            assert!(levels.len() == 16 && levels.windows(2).all(|pair| pair[0] < pair[1]), "{values:?}: {levels:?}");
        }
    }

    #[test]
    fn many_values_are_sampled_evenly() {
        let values = random_normal(SAMPLE * 2 + 5, 1, 2);
        let levels = lloyd_levels(&values, 2, 50);
        assert!((levels[0] + 0.798).abs() < 0.02 && (levels[1] - 0.798).abs() < 0.02, "{levels:?}");
    }
}
