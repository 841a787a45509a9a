//! The privacy loss of rounds with noise: Rényi differential privacy of the sampled Gaussian mechanism (Mironov,
//! Talwar and Zhang 2019), added up over rounds and turned into an epsilon (Canonne, Kamath and Steinke 2020,
//! proposition 12).
//!
//! Whole orders alone are used: fractional ones would give a slightly smaller epsilon, never a wrong one.

/// Orders of Rényi divergence that are tried.
fn orders() -> impl Iterator<Item = u32> {
    (2..=64).chain([80, 96, 128, 192, 256, 384, 512])
}

/// Adds rounds up. Every round samples each client with probability `share` and adds noise of `noise_multiplier` times the
/// largest change that one client can make.
#[derive(Debug, Clone, PartialEq)]
pub struct Accountant {
    /// Divergence of one round, by order.
    of_round: Vec<(u32, f64)>,
}

impl Accountant {
    /// `share` in (0, 1], `noise_multiplier` above 0. Costs about 4,000 terms.
    pub fn new(share: f64, noise_multiplier: f64) -> Self {
        Self { of_round: orders().map(|order| (order, divergence(share, noise_multiplier, order))).collect() }
    }

    /// The epsilon of `rounds` rounds at `delta`, in (0, 1); infinite where no order bounds it.
    pub fn epsilon(&self, rounds: u32, delta: f64) -> f64 {
        if rounds == 0 {
            return 0.0;
        }
        let of_order = |(order, divergence): &(u32, f64)| {
            let order = f64::from(*order);
            f64::from(rounds) * divergence + ((order - 1.0) / order).ln() - (delta.ln() + order.ln()) / (order - 1.0)
        };
        self.of_round.iter().map(of_order).fold(f64::INFINITY, f64::min).max(0.0)
    }
}

/// Rényi divergence of order `order` between a round with and without one client: the bound of section 3.3, whose sum is
/// formed in logarithms because its terms overflow.
fn divergence(share: f64, noise_multiplier: f64, order: u32) -> f64 {
    let variance = noise_multiplier * noise_multiplier;
    let whole = f64::from(order);
    if share >= 1.0 {
        return whole / (2.0 * variance);
    }
    let mut choose = 0.0;
    let mut terms = Vec::new();
    for taken in 0..=order {
        let of = f64::from(taken);
        terms.push(choose + of * share.ln() + (whole - of) * (-share).ln_1p() + of * (of - 1.0) / (2.0 * variance));
        choose += ((whole - of) / (of + 1.0)).ln();
    }
    let largest = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = terms.iter().map(|term| (term - largest).exp()).sum();
    let divergence = (largest + sum.ln()) / (whole - 1.0);
    // Noise too small for the arithmetic hides nothing.
    if divergence.is_finite() { divergence.max(0.0) } else { f64::INFINITY }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64) {
        assert!((found / expected - 1.0).abs() < 1e-5, "{found} is not {expected}");
    }

    /// Values of dp-accounting 0.6 (`compute_rdp_poisson_subsampled_gaussian`).
    #[test]
    fn divergence_is_that_of_a_known_accountant() {
        for (share, noise, order, expected) in [
            (0.01, 1.0, 2, 0.00017181342207455162),
            (0.01, 1.0, 16, 3.087850783696245),
            (0.1, 2.0, 8, 0.013725430103219973),
            (0.5, 0.7, 32, 31.937554457460184),
            (0.25, 4.0, 64, 0.6576692494400207),
            (0.004, 0.6, 512, 705.5788449859733),
        ] {
            close(divergence(share, noise, order), expected);
        }
        close(divergence(1.0, 2.0, 5), 0.625);
    }

    /// Values of dp-accounting 0.6 over orders 2 to 64, 128, 256, 512.
    #[test]
    fn epsilon_is_that_of_a_known_accountant() {
        for (share, noise, rounds, delta, expected) in [
            (250.0 / 60_000.0, 1.3, 3600, 1e-5, 0.9422002181626765),
            (256.0 / 60_000.0, 1.1, 14_000, 1e-5, 2.590884032764526),
            (0.01, 1.0, 1000, 1e-5, 2.1077530754515745),
            (1.0 / 3.0, 1.0, 30, 1e-3, 10.76324956580293),
            (1.0 / 3.0, 4.0, 30, 1e-3, 1.4809154418506871),
            (1.0, 5.0, 10, 1e-5, 2.814109167845533),
            (0.001, 0.5, 100, 1e-6, 4.758395258463956),
        ] {
            close(Accountant::new(share, noise).epsilon(rounds, delta), expected);
        }
    }

    #[test]
    fn epsilon_grows_with_rounds_and_is_infinite_without_noise() {
        let accountant = Accountant::new(1.0 / 3.0, 2.0);
        assert_eq!(accountant.epsilon(0, 1e-3), 0.0);
        assert!(accountant.epsilon(2, 1e-3) > accountant.epsilon(1, 1e-3));
        assert!(Accountant::new(0.5, 1e-200).epsilon(1, 1e-5).is_infinite());
    }
}
