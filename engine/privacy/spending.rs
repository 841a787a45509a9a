//! The epsilon that a run will have spent after each of its rounds. Known before it starts, since neither sampling
//! nor noise depends on what clients send.

use super::{Accountant, Config, Place};

/// Epsilon after each round.
#[derive(Debug, Clone, PartialEq)]
pub struct Spending {
    /// By round; the first entry is round 0.
    epsilons: Vec<f64>,
    budget: Option<f64>,
}

impl Spending {
    /// Of a run with `rounds` rounds over `clients` clients. `asked` tells whom a round may ask.
    ///
    /// With noise at the server every round counts with the share of clients that it asks, as if each were drawn on its
    /// own (Poisson sampling), as is usual for cohorts of fixed size. With noise at the clients the rounds of the client
    /// that is asked most count, in full: whoever sees its uploads knows that it took part.
    pub fn new(config: &Config, rounds: u32, clients: usize, asked: impl Fn(u32) -> Vec<u32>) -> Self {
        let largest = (1..=rounds).map(|round| asked(round).len()).max().unwrap_or(0);
        let share = match config.place {
            Place::Server => (largest as f64 / clients.max(1) as f64).min(1.0),
            Place::Client => 1.0,
        };
        let accountant = Accountant::new(share, config.noise_multiplier.into());
        let mut times = vec![0_u32; clients];
        let mut epsilons = vec![0.0];
        for round in 1..=rounds {
            let counted = match config.place {
                Place::Server => round,
                Place::Client => {
                    asked(round).into_iter().for_each(|client| times[client as usize] += 1);
                    times.iter().copied().max().unwrap_or(0)
                }
            };
            epsilons.push(accountant.epsilon(counted, config.delta));
        }
        Self { epsilons, budget: Some(config.budget).filter(|budget| *budget > 0.0) }
    }

    /// Epsilon after a round; of the last one for rounds beyond it.
    pub fn after(&self, round: u32) -> f64 {
        let last = self.epsilons.len() - 1;
        self.epsilons[(round as usize).min(last)]
    }

    /// Number of rounds that stay within the budget; all rounds where there is no budget.
    pub fn rounds_within(&self) -> u32 {
        let within = |epsilon: &&f64| self.budget.is_none_or(|budget| **epsilon <= budget);
        (self.epsilons.iter().take_while(within).count() - 1) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(place: Place, budget: f64) -> Config {
        Config { clip: 1.0, noise_multiplier: 2.0, place, delta: 1e-3, budget }
    }

    #[test]
    fn a_server_spends_with_every_round_and_a_client_with_those_that_ask_it() {
        let asked = |round: u32| if round.is_multiple_of(2) { vec![0, 1] } else { vec![2, 3] };
        let server = Spending::new(&config(Place::Server, 0.0), 6, 4, asked);
        let accountant = Accountant::new(0.5, 2.0);
        assert_eq!((server.after(0), server.after(6)), (0.0, accountant.epsilon(6, 1e-3)));
        let client = Spending::new(&config(Place::Client, 0.0), 6, 4, asked);
        let accountant = Accountant::new(1.0, 2.0);
        assert_eq!((client.after(2), client.after(3)), (accountant.epsilon(1, 1e-3), accountant.epsilon(2, 1e-3)));
        assert_eq!(client.after(6), accountant.epsilon(3, 1e-3));
    }

    #[test]
    fn a_budget_ends_the_run_before_the_round_that_would_exceed_it() {
        let rounds = |budget| Spending::new(&config(Place::Server, budget), 50, 10, |_| vec![0, 1]).rounds_within();
        let all = Spending::new(&config(Place::Server, 0.0), 50, 10, |_| vec![0, 1]);
        assert_eq!(rounds(0.0), 50);
        assert_eq!(rounds(1e-6), 0);
        let within = rounds(2.0);
        assert!(all.after(within) <= 2.0 && all.after(within + 1) > 2.0, "{within}");
    }
}
