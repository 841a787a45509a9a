//! The cohort of a round: clients sampled uniformly, without replacement, by seed.

use rand_core::Rng;

use crate::random::{self, Purpose};

/// `count` distinct clients of `0..clients`, in the order in which they are asked; all of them where there are fewer.
/// The same for the same seed and round.
pub fn sample(seed: u64, round: u32, clients: u32, count: usize) -> Vec<u32> {
    let mut roster: Vec<u32> = (0..clients).collect();
    let count = count.min(roster.len());
    let mut stream = random::stream(seed, Purpose::Cohort, round, 0);
    for place in 0..count {
        let rest = (roster.len() - place) as u64;
        roster.swap(place, place + below(&mut stream, rest) as usize);
    }
    roster.truncate(count);
    roster
}

/// A uniform draw from `0..bound` without modulo bias (Lemire 2019).
fn below(stream: &mut impl Rng, bound: u64) -> u64 {
    loop {
        let product = u128::from(stream.next_u64()) * u128::from(bound);
        let low = product as u64;
        if low >= bound.wrapping_neg() % bound {
            return (product >> 64) as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cohort_is_distinct_seeded_and_changes_by_round() {
        let cohort = sample(7, 1, 24, 8);
        assert_eq!(cohort.len(), 8);
        let mut sorted = cohort.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), 8);
        assert_eq!(cohort, sample(7, 1, 24, 8));
        assert_ne!(cohort, sample(7, 2, 24, 8));
        assert_ne!(cohort, sample(8, 1, 24, 8));
    }

    #[test]
    fn every_client_is_sampled_about_equally_often() {
        let mut counts = [0_u32; 10];
        for round in 0..3000 {
            for client in sample(1, round, 10, 3) {
                counts[client as usize] += 1;
            }
        }
        assert!(counts.iter().all(|count| (820..=980).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_cohort_larger_than_the_roster_is_the_roster() {
        assert_eq!(sample(1, 1, 3, 9).len(), 3);
    }
}
