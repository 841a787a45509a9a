//! Clipping and noise: values in, the same values bounded or hidden out. The same on every machine: logarithm and angle
//! come from `libm`, not from the system.

use rand_chacha::ChaCha8Rng;
use rand_core::Rng;

use crate::random::{self, Purpose};

/// Scales `values` down to the L2 norm `limit` where theirs is above it. A norm that is no number becomes zeros.
pub fn clip(values: &mut [f32], limit: f32) {
    let limit = f64::from(limit);
    // Rounding to single precision may leave a scaled norm a little above the limit: then once more.
    for _ in 0..2 {
        let norm = values.iter().map(|value| f64::from(*value) * f64::from(*value)).sum::<f64>().sqrt();
        if norm <= limit {
            return;
        }
        let factor = if norm.is_finite() { limit / norm * (1.0 - 1e-7) } else { 0.0 };
        values
            .iter_mut()
            .for_each(|value| *value = if factor == 0.0 { 0.0 } else { (f64::from(*value) * factor) as f32 });
    }
}

/// The stream of a round's noise under a run's seed: of the server's own (`client` none), or a client's.
pub fn noise_stream(seed: u64, round: u32, client: Option<u32>) -> ChaCha8Rng {
    let purpose = if client.is_some() { Purpose::ClientNoise } else { Purpose::ServerNoise };
    random::stream(seed, purpose, round, client.unwrap_or(0))
}

/// Adds Gaussian noise of standard deviation `deviation`, drawn from `stream`.
pub fn perturb(values: &mut [f32], deviation: f64, mut stream: impl Rng) {
    for pair in values.chunks_mut(2) {
        let drawn = normals(&mut stream);
        for (value, normal) in pair.iter_mut().zip(drawn) {
            *value = (f64::from(*value) + deviation * normal) as f32;
        }
    }
}

/// Two independent standard normals (Box and Muller 1958).
fn normals(stream: &mut impl Rng) -> [f64; 2] {
    const UNIT: f64 = 1.0 / (1_u64 << 53) as f64;
    // Above 0, so that the logarithm is finite.
    let first = ((stream.next_u64() >> 11) + 1) as f64 * UNIT;
    let second = (stream.next_u64() >> 11) as f64 * UNIT;
    let (radius, angle) = ((-2.0 * libm::log(first)).sqrt(), std::f64::consts::TAU * second);
    [radius * libm::cos(angle), radius * libm::sin(angle)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn norm(values: &[f32]) -> f64 {
        values.iter().map(|value| f64::from(*value) * f64::from(*value)).sum::<f64>().sqrt()
    }

    #[test]
    fn a_long_update_is_scaled_to_the_limit_and_a_short_one_is_left_alone() {
        let mut long: Vec<f32> = (0..1000).map(|number| number as f32 * 0.37).collect();
        let before = long.clone();
        clip(&mut long, 1.5);
        assert!(norm(&long) <= 1.5 && norm(&long) > 1.4999, "{}", norm(&long));
        let share = long[999] / before[999];
        assert!((long[10] / before[10] / share - 1.0).abs() < 1e-5, "its direction stays");
        let mut short = vec![0.3_f32, -0.4];
        clip(&mut short, 0.6);
        assert_eq!(short, [0.3, -0.4]);
        let mut broken = vec![f32::NAN, 1.0];
        clip(&mut broken, 1.0);
        assert_eq!(broken, [0.0, 0.0]);
    }

    #[test]
    fn noise_has_its_deviation_and_depends_on_seed_round_and_client() {
        let draw = |seed, round, client| {
            let mut values = vec![0.0_f32; 40_001];
            perturb(&mut values, 2.0, noise_stream(seed, round, client));
            values
        };
        let values = draw(1, 2, Some(3));
        let mean = values.iter().map(|value| f64::from(*value)).sum::<f64>() / values.len() as f64;
        let variance = norm(&values).powi(2) / values.len() as f64;
        assert!(mean.abs() < 0.05 && (variance - 4.0).abs() < 0.12, "{mean} {variance}");
        // Of a normal distribution 4.55% lie beyond two deviations.
        let beyond = values.iter().filter(|value| value.abs() > 4.0).count() as f64 / values.len() as f64;
        assert!((beyond - 0.0455).abs() < 0.005, "{beyond}");
        assert_eq!(values, draw(1, 2, Some(3)));
        for other in [draw(2, 2, Some(3)), draw(1, 3, Some(3)), draw(1, 2, Some(4)), draw(1, 2, None)] {
            assert_ne!(values[..4], other[..4]);
        }
    }
}
