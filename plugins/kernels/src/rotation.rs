//! The randomized Hadamard transform: random signs, then an orthonormal Walsh-Hadamard transform of each block. It spreads
//! every value over its block, so that few levels describe all of them (DRIVE, EDEN).

use crate::random::each_block;

/// Values below which a transform stays in the first cache and goes stride by stride.
const SMALL: usize = 4096;

/// Random signs by stream `number` under `seed` (bit i % 32 of word i / 32 flips value i), then the transform of each block
/// of `block` values, a power of two that divides the length.
pub fn rotate(values: &mut [f32], block: usize, seed: u64, number: u64) {
    flip_signs(values, seed, number);
    transform_blocks(values, block);
}

/// The inverse of [`rotate`], up to rounding.
pub fn rotate_back(values: &mut [f32], block: usize, seed: u64, number: u64) {
    transform_blocks(values, block);
    flip_signs(values, seed, number);
}

fn flip_signs(values: &mut [f32], seed: u64, number: u64) {
    each_block(seed, number, values.len().div_ceil(32), |first, words| {
        for (values, word) in values[first * 32..].chunks_mut(32).zip(words) {
            for (bit, value) in values.iter_mut().enumerate() {
                *value = f32::from_bits(value.to_bits() ^ (((word >> bit) & 1) << 31));
            }
        }
    });
}

fn transform_blocks(values: &mut [f32], block: usize) {
    assert!(block.is_power_of_two() && values.len().is_multiple_of(block), "rotate: blocks of {block} do not fit");
    let factor = (1.0 / (block as f64).sqrt()) as f32;
    for block in values.chunks_exact_mut(block) {
        transform(block);
        block.iter_mut().for_each(|value| *value *= factor);
    }
}

/// Strides from the largest to 1. Each half is finished before the other is begun, so that what is read again is near;
/// the additions are the same as stride by stride.
fn transform(values: &mut [f32]) {
    if values.len() <= SMALL {
        return transform_small(values);
    }
    let (low, high) = values.split_at_mut(values.len() / 2);
    butterflies(low, high);
    transform(low);
    transform(high);
}

fn transform_small(values: &mut [f32]) {
    let mut stride = values.len() / 2;
    while stride >= 8 {
        for pair in values.chunks_exact_mut(stride * 2) {
            let (low, high) = pair.split_at_mut(stride);
            butterflies(low, high);
        }
        stride /= 2;
    }
    let (eights, rest) = values.as_chunks_mut::<8>();
    for eight in eights {
        *eight = transform_eight(*eight);
    }
    // Only a block of less than eight values has a rest.
    while stride >= 1 && !rest.is_empty() {
        for pair in rest.chunks_exact_mut(stride * 2) {
            let (low, high) = pair.split_at_mut(stride);
            butterflies(low, high);
        }
        stride /= 2;
    }
}

fn butterflies(low: &mut [f32], high: &mut [f32]) {
    for (low, high) in low.iter_mut().zip(high) {
        (*low, *high) = (*low + *high, *low - *high);
    }
}

/// The strides 4, 2 and 1.
fn transform_eight([a, b, c, d, e, f, g, h]: [f32; 8]) -> [f32; 8] {
    let (a, b, c, d, e, f, g, h) = (a + e, b + f, c + g, d + h, a - e, b - f, c - g, d - h);
    let (a, b, c, d, e, f, g, h) = (a + c, b + d, a - c, b - d, e + g, f + h, e - g, f - h);
    [a + b, a - b, c + d, c - d, e + f, e - f, g + h, g - h]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{norm, random_bits, random_normal};

    /// The definition: entry (i, j) of the matrix is the parity of i & j.
    fn by_definition(values: &[f32], block: usize, seed: u64, number: u64) -> Vec<f64> {
        let words = random_bits(seed, number, 0, values.len().div_ceil(32));
        let sign = |odd: bool| if odd { -1.0 } else { 1.0 };
        let signed: Vec<f64> = values
            .iter()
            .enumerate()
            .map(|(i, value)| f64::from(*value) * sign(words[i / 32] >> (i % 32) & 1 == 1))
            .collect();
        let row = |block: &[f64], i: usize| -> f64 {
            block.iter().enumerate().map(|(j, value)| value * sign((i & j).count_ones() % 2 == 1)).sum()
        };
        let blocks = signed.chunks(block);
        blocks.flat_map(|b| (0..block).map(|i| row(b, i) / (block as f64).sqrt()).collect::<Vec<_>>()).collect()
    }

    #[test]
    fn it_is_the_transform_that_its_definition_says() {
        for block in [1, 2, 4, 8, 16, 64, 1024] {
            let before = random_normal(block * 3, 1, block as u64);
            let mut values = before.clone();
            rotate(&mut values, block, 9, 4);
            let expected = by_definition(&before, block, 9, 4);
            assert!(values.iter().zip(&expected).all(|(got, want)| (f64::from(*got) - want).abs() < 1e-5), "{block}");
        }
    }

    #[test]
    fn rotating_back_gives_what_was_there_and_norms_stay() {
        for block in [1, 4, 256, SMALL * 4] {
            let before = random_normal(SMALL * 8, 2, 3);
            let mut values = before.clone();
            rotate(&mut values, block, 5, 6);
            assert!((norm(&values) - norm(&before)).abs() < 1e-3);
            rotate_back(&mut values, block, 5, 6);
            assert!(values.iter().zip(&before).all(|(after, before)| (after - before).abs() < 1e-5), "{block}");
        }
    }

    #[test]
    fn one_large_value_is_spread_evenly() {
        let mut values = vec![0.0; 1024];
        values[77] = 32.0;
        rotate(&mut values, 1024, 1, 1);
        assert!(values.iter().all(|value| value.abs() == 1.0));
    }
}
