//! Random draws: a stream in, permutations and Dirichlet proportions out. `libm` computes the logarithms, so that every
//! platform draws the same.

use rand_core::Rng;

/// A Fisher-Yates shuffle.
pub(super) fn shuffle(random: &mut impl Rng, items: &mut [u32]) {
    for last in (1..items.len()).rev() {
        items.swap(last, uniform_below(random, last as u64 + 1) as usize);
    }
}

/// A uniform integer below `limit`, without bias (Lemire 2019, <https://arxiv.org/abs/1805.10941>).
pub(super) fn uniform_below(random: &mut impl Rng, limit: u64) -> u64 {
    loop {
        let product = u128::from(random.next_u64()) * u128::from(limit);
        if product as u64 >= limit.wrapping_neg() % limit {
            return (product >> 64) as u64;
        }
    }
}

/// An index below `weights.len()`, drawn in proportion to its weight; none where no weight is above 0.
pub(super) fn weighted_index(random: &mut impl Rng, weights: &[f64]) -> Option<usize> {
    let sum: f64 = weights.iter().sum();
    let mut left = uniform(random) * sum;
    let mut last = None;
    for (number, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
        last = Some(number);
        left -= weight;
        if left <= 0.0 {
            break;
        }
    }
    last
}

/// `count` proportions that sum to 1, from the symmetric Dirichlet distribution. They are kept as logarithms until the
/// end: with a small alpha plain gamma variates would all be 0 and have no sum to divide by.
pub(super) fn dirichlet(random: &mut impl Rng, alpha: f64, count: usize) -> Vec<f64> {
    let mut shares: Vec<f64> = (0..count).map(|_| ln_gamma_variate(random, alpha)).collect();
    let largest = shares.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    for share in &mut shares {
        *share = libm::exp(*share - largest);
    }
    let sum: f64 = shares.iter().sum();
    for share in &mut shares {
        *share /= sum;
    }
    shares
}

/// The logarithm of a gamma variate of shape `alpha` and scale 1 (Marsaglia and Tsang 2000). For a shape below 1:
/// `Gamma(alpha) = Gamma(alpha + 1) * U^(1 / alpha)` (their section 6).
fn ln_gamma_variate(random: &mut impl Rng, alpha: f64) -> f64 {
    if alpha < 1.0 {
        return ln_gamma_variate(random, alpha + 1.0) + libm::log(uniform(random)) / alpha;
    }
    let d = alpha - 1.0 / 3.0;
    let c = 1.0 / libm::sqrt(9.0 * d);
    loop {
        let x = normal(random);
        let v = (1.0 + c * x) * (1.0 + c * x) * (1.0 + c * x);
        if v > 0.0 && libm::log(uniform(random)) < 0.5 * x * x + d - d * v + d * libm::log(v) {
            return libm::log(d * v);
        }
    }
}

/// A standard normal variate (Marsaglia's polar method).
fn normal(random: &mut impl Rng) -> f64 {
    loop {
        let (x, y) = (2.0 * uniform(random) - 1.0, 2.0 * uniform(random) - 1.0);
        let s = x * x + y * y;
        if s < 1.0 && s > 0.0 {
            return x * libm::sqrt(-2.0 * libm::log(s) / s);
        }
    }
}

/// Uniform in (0, 1): 53 random bits, half a step above the grid so that 0 never comes.
fn uniform(random: &mut impl Rng) -> f64 {
    ((random.next_u64() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, stream};

    #[test]
    fn shares_have_the_mean_and_the_variance_of_the_dirichlet_distribution() {
        for alpha in [0.1, 0.5, 1.0, 5.0] {
            let random = &mut stream(7, Purpose::Partition, 0, 0);
            let (count, draws) = (4, 20_000);
            let (mut sum, mut squares) = (0.0, 0.0);
            for _ in 0..draws {
                let shares = dirichlet(random, alpha, count);
                assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-12);
                sum += shares[0];
                squares += shares[0] * shares[0];
            }
            let mean = sum / f64::from(draws);
            let variance = squares / f64::from(draws) - mean * mean;
            let expected = 0.25 * 0.75 / (count as f64 * alpha + 1.0);
            assert!((mean - 0.25).abs() < 0.01, "alpha {alpha}: mean {mean}");
            assert!((variance / expected - 1.0).abs() < 0.05, "alpha {alpha}: variance {variance}, not {expected}");
        }
    }

    #[test]
    fn extreme_concentrations_still_sum_to_one() {
        for alpha in [1e-300, 1e-9, 1e9, 1e300] {
            let shares = dirichlet(&mut stream(7, Purpose::Partition, 0, 0), alpha, 5);
            assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-12, "alpha {alpha}: {shares:?}");
        }
    }

    #[test]
    fn a_weighted_choice_follows_its_weights_and_never_takes_a_zero() {
        let random = &mut stream(7, Purpose::Partition, 0, 0);
        let mut counts = [0; 4];
        for _ in 0..10_000 {
            counts[weighted_index(random, &[0.0, 1.0, 3.0, 0.0]).unwrap()] += 1;
        }
        assert!(counts[0] == 0 && counts[3] == 0 && (2_300..2_700).contains(&counts[1]), "{counts:?}");
        assert_eq!(weighted_index(random, &[0.0, 0.0]), None);
    }

    #[test]
    fn a_shuffle_is_a_permutation_and_every_order_comes() {
        let random = &mut stream(7, Purpose::Partition, 0, 0);
        let mut seen = std::collections::HashMap::new();
        for _ in 0..6_000 {
            let mut items = [0, 1, 2];
            shuffle(random, &mut items);
            *seen.entry(items).or_insert(0) += 1;
        }
        assert_eq!(seen.len(), 6);
        assert!(seen.values().all(|&count| (850..1150).contains(&count)), "{seen:?}");
    }
}
