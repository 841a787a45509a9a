//! Seeded random numbers: ChaCha8, a stream for each pair of seed and number, every word reachable on its own.

use std::f64::consts::PI;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// Words drawn at a time.
const BLOCK: usize = 1024;

/// Stream `number` under `seed`, at its first word.
fn stream(seed: u64, number: u64) -> ChaCha8Rng {
    let mut key = *b"cellm policy random bits________";
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&number.to_le_bytes());
    ChaCha8Rng::from_seed(key)
}

/// Words number `first` to `first + count - 1` of stream `number` under `seed`.
pub fn random_bits(seed: u64, number: u64, first: u64, count: usize) -> Vec<u32> {
    let mut stream = stream(seed, number);
    stream.set_word_pos(u128::from(first));
    (0..count).map(|_| stream.next_u32()).collect()
}

/// Hands `take` the words of a stream from the first on, at most [`BLOCK`] at a time, `count` in all, each time with the
/// number of the first word.
pub(crate) fn each_block(seed: u64, number: u64, count: usize, mut take: impl FnMut(usize, &[u32])) {
    let mut stream = stream(seed, number);
    let (mut bytes, mut words) = ([0; BLOCK * 4], [0; BLOCK]);
    for first in (0..count).step_by(BLOCK) {
        let count = BLOCK.min(count - first);
        // Many bytes at once are several times faster than word by word.
        stream.fill_bytes(&mut bytes[..count * 4]);
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        take(first, &words[..count]);
    }
}

/// Even draws from [0, 1): word number i, its upper 24 bits.
pub fn random_uniform(len: usize, seed: u64, number: u64) -> Vec<f32> {
    let mut draws = Vec::with_capacity(len);
    each_block(seed, number, len, |_, words| draws.extend(words.iter().map(|word| share(*word))));
    draws
}

/// The upper 24 bits of a word as a share of 1: exact in single precision.
pub(crate) fn share(word: u32) -> f32 {
    (word >> 8) as f32 * (1.0 / 16_777_216.0)
}

/// Standard normal draws: Box and Muller's two from the words 2i and 2i + 1 are the values 2i (cosine) and 2i + 1 (sine).
pub fn random_normal(len: usize, seed: u64, number: u64) -> Vec<f32> {
    let mut draws = Vec::with_capacity(len + 1);
    each_block(seed, number, len.next_multiple_of(2), |_, words| {
        for pair in words.as_chunks::<2>().0 {
            let radius = (-2.0 * libm::log((f64::from(pair[0]) + 1.0) / 4_294_967_296.0)).sqrt();
            let (sine, cosine) = libm::sincos(2.0 * PI * (f64::from(pair[1]) / 4_294_967_296.0));
            draws.extend([(radius * cosine) as f32, (radius * sine) as f32]);
        }
    });
    draws.truncate(len);
    draws
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_words_depend_on_seed_number_and_place_alone() {
        let whole = random_bits(1, 2, 0, 100);
        assert_eq!(random_bits(1, 2, 40, 10), whole[40..50]);
        assert_ne!(random_bits(1, 3, 0, 100), whole);
        assert_ne!(random_bits(2, 2, 0, 100), whole);
        assert_eq!(whole[..2], [268_715_501, 3_756_746_232], "stored results depend on the stream");
    }

    #[test]
    fn uniform_draws_are_the_words_of_the_stream() {
        let words = random_bits(5, 6, 0, 3000);
        let draws = random_uniform(3000, 5, 6);
        assert!(draws.iter().zip(&words).all(|(draw, word)| *draw == (word >> 8) as f32 / 16_777_216.0));
        assert!(draws.iter().all(|draw| (0.0..1.0).contains(draw)));
    }

    #[test]
    fn normal_draws_have_mean_zero_and_variance_one() {
        let draws = random_normal(100_001, 7, 8);
        assert_eq!(draws.len(), 100_001);
        let moment = |power| draws.iter().map(|draw| f64::from(*draw).powi(power)).sum::<f64>() / 100_001.0;
        assert!(moment(1).abs() < 0.01 && (moment(2) - 1.0).abs() < 0.02 && (moment(4) - 3.0).abs() < 0.15);
        assert_eq!(random_normal(9, 7, 8), draws[..9], "a shorter vector is the beginning of a longer one");
    }
}
