//! Tiers: classes of clients that differ in how much of the adapter they are sent and how much of it they train.
//! The section's `[[client.tiers]]` in; a client's tier, its density and what its rank may train out.

use rand_core::Rng;
use serde::{Deserialize, Serialize};

use crate::adapter::{AdapterLayout, Role};
use crate::random::{self, Purpose};

/// One class of clients, as the config has it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tier {
    /// Share of the clients that belong to it, in (0, 1]; the shares of all tiers add up to 1.
    pub share: f64,
    /// Share of the values that is sent, both ways, in place of the directions' own; unset keeps those.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub density: Option<f64>,
    /// Rows of A and columns of B that its clients train; 0 is the whole rank.
    pub rank: u32,
}

impl Default for Tier {
    fn default() -> Self {
        Self { share: 1.0, density: None, rank: 0 }
    }
}

/// The tiers of a run. A run without any has one, number 0, that changes nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Tiers {
    seed: u64,
    tiers: Vec<Tier>,
}

impl Tiers {
    /// The tiers of a run with this seed.
    pub fn new(seed: u64, tiers: &[Tier]) -> Self {
        let tiers = if tiers.is_empty() { vec![Tier::default()] } else { tiers.to_vec() };
        Self { seed, tiers }
    }

    /// A client's tier: a seeded draw that is the same in every round.
    pub fn of(&self, client: u32) -> u32 {
        let word = random::stream(self.seed, Purpose::Tier, 0, client).next_u64() >> 11;
        let drawn = word as f64 / (1_u64 << 53) as f64;
        let mut reached = 0.0;
        let above = |tier: &Tier| {
            reached += tier.share;
            drawn < reached
        };
        // Shares whose sum is a rounding error below 1 leave the very last draws to the last tier.
        self.tiers.iter().position(above).unwrap_or(self.tiers.len() - 1) as u32
    }

    /// The density of a tier where the direction has `own`.
    pub fn density(&self, tier: u32, own: f64) -> f64 {
        self.tier(tier).density.unwrap_or(own)
    }

    /// The rank that a tier trains; 0 is the whole.
    pub fn rank(&self, tier: u32) -> u32 {
        self.tier(tier).rank
    }

    /// The tiers that have clients, of `clients` in all; ascending. Takes a draw a client.
    pub fn in_use(&self, clients: u32) -> Vec<u32> {
        let mut used = vec![false; self.tiers.len()];
        if used.len() == 1 {
            return vec![0];
        }
        for client in 0..clients {
            used[self.of(client) as usize] = true;
        }
        (0..used.len() as u32).filter(|tier| used[*tier as usize]).collect()
    }

    /// Of some tiers the one that sees most: the highest density, of equals the highest rank, of equals the first.
    pub fn widest(&self, of: &[u32], own: f64) -> u32 {
        // Rank 0 is the whole one: less one it wraps around to the largest.
        let sees = |tier: u32| (self.density(tier, own), self.rank(tier).wrapping_sub(1));
        let first = of.first().copied().unwrap_or(0);
        of.iter().fold(first, |best, tier| if sees(*tier) > sees(best) { *tier } else { best })
    }

    /// The coordinates that a tier's clients may train, ascending; none where they train all.
    pub fn trainable(&self, tier: u32, layout: &AdapterLayout) -> Option<Vec<u32>> {
        let rank = self.rank(tier) as usize;
        let whole = layout.tensors().iter().all(|tensor| tensor.spec.rank <= rank);
        (rank > 0 && !whole).then(|| first_ranks(layout, rank))
    }

    fn tier(&self, tier: u32) -> &Tier {
        &self.tiers[(tier as usize).min(self.tiers.len() - 1)]
    }
}

/// The first `rank` rows of every A, columns of every B, rows and columns of every core; heads and base weights whole.
fn first_ranks(layout: &AdapterLayout, rank: usize) -> Vec<u32> {
    let mut coordinates = Vec::new();
    for tensor in layout.tensors() {
        let columns = tensor.spec.shape.last().copied().unwrap_or(1).max(1);
        let rows = tensor.len / columns;
        let (rows, kept) = match tensor.spec.role {
            Role::LoraA => (rows.min(rank), columns),
            Role::LoraB => (rows, columns.min(rank)),
            Role::Core => (rows.min(rank), columns.min(rank)),
            Role::Head | Role::Base => (rows, columns),
        };
        for row in 0..rows {
            let first = tensor.offset + row * columns;
            coordinates.extend((first..first + kept).map(|coordinate| coordinate as u32));
        }
    }
    coordinates
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::TensorSpec;

    fn tier(share: f64, rank: u32) -> Tier {
        Tier { share, density: Some(share / 2.0), rank }
    }

    #[test]
    fn a_client_keeps_its_tier_and_the_shares_are_met() {
        let tiers = Tiers::new(7, &[tier(0.5, 0), tier(0.3, 0), tier(0.2, 0)]);
        let mut counts = [0; 3];
        for client in 0..5000 {
            assert_eq!(tiers.of(client), tiers.of(client));
            counts[tiers.of(client) as usize] += 1;
        }
        assert!((2400..2600).contains(&counts[0]) && (1400..1600).contains(&counts[1]), "{counts:?}");
        let other = Tiers::new(8, &[tier(0.5, 0), tier(0.5, 0)]);
        assert!((0..100).any(|client| tiers.of(client) != other.of(client)));
    }

    #[test]
    fn a_run_without_tiers_has_one_that_changes_nothing() {
        let tiers = Tiers::new(1, &[]);
        assert_eq!((tiers.of(3), tiers.density(0, 0.25), tiers.rank(0)), (0, 0.25, 0));
        assert_eq!((tiers.in_use(1000), tiers.widest(&[0], 0.25)), (vec![0], 0));
    }

    #[test]
    fn the_widest_tier_is_the_one_of_highest_density_then_rank_that_has_clients() {
        let tiers = Tiers::new(1, &[tier(0.3, 0), tier(0.5, 0), tier(0.2, 0)]);
        assert_eq!(tiers.widest(&[0, 1, 2], 0.9), 1);
        assert_eq!(tiers.widest(&[0, 2], 0.9), 0);
        let ranks = Tiers::new(1, &[tier(0.5, 2), tier(0.5, 0), tier(0.5, 4), tier(0.2, 0)]);
        assert_eq!((ranks.widest(&[0, 1, 2, 3], 0.9), ranks.widest(&[0, 2, 3], 0.9)), (1, 2));
        assert_eq!(tiers.in_use(1), [tiers.of(0)]);
        assert_eq!(tiers.in_use(100), [0, 1, 2]);
    }

    #[test]
    fn a_rank_trains_the_first_rows_of_a_and_columns_of_b_and_every_head() {
        let spec = |role, shape: [usize; 2], rank| TensorSpec {
            name: "t".into(),
            role,
            shape: shape.into(),
            rank,
            scale: 1.0,
            seed: 0,
        };
        let layout = AdapterLayout::new(vec![
            spec(Role::LoraA, [3, 2], 3),
            spec(Role::LoraB, [2, 3], 3),
            spec(Role::Core, [3, 3], 3),
            spec(Role::Head, [1, 2], 0),
        ]);
        let of = |rank| Tiers::new(1, &[tier(1.0, rank)]).trainable(0, &layout);
        assert_eq!(of(2).unwrap(), [0, 1, 2, 3, 6, 7, 9, 10, 12, 13, 15, 16, 21, 22]);
        assert_eq!(of(1).unwrap(), [0, 1, 6, 9, 12, 21, 22]);
        assert_eq!((of(0), of(3), of(9)), (None, None, None));
    }
}
