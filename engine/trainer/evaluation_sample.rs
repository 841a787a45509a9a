//! The sample of held-out records that a run is evaluated on: records and a seed in, some of the records out, the same in
//! every round.

use super::batch::shuffled;
use crate::random::{Purpose, stream};

/// At most `count` of `records`, in their order; all of them where `count` is 0. The draw is over the records by their place
/// in the data, so it depends on the seed and on which records are held out, and not on whose they are.
pub fn evaluation_sample(records: &[u32], count: usize, seed: u64) -> Vec<u32> {
    if count == 0 || count >= records.len() {
        return records.to_vec();
    }
    let mut by_place = records.to_vec();
    by_place.sort_unstable();
    let drawn = shuffled(by_place.len(), &mut stream(seed, Purpose::Evaluation, 0, 0));
    let mut taken: Vec<u32> = drawn[..count].iter().map(|place| by_place[*place]).collect();
    taken.sort_unstable();
    records.iter().copied().filter(|record| taken.binary_search(record).is_ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_seeded_keeps_the_order_and_does_not_depend_on_it() {
        let records: Vec<u32> = (0..200).map(|number| (number * 37) % 200 + 1000).collect();
        let sample = evaluation_sample(&records, 20, 1);
        assert_eq!(sample.len(), 20);
        assert_eq!(evaluation_sample(&records, 20, 1), sample);
        assert_ne!(evaluation_sample(&records, 20, 2), sample);
        let places: Vec<_> = sample.iter().map(|taken| records.iter().position(|record| record == taken)).collect();
        assert!(places.is_sorted() && places.iter().all(Option::is_some), "{places:?}");
        let mut sorted = records.clone();
        sorted.sort_unstable();
        let mut of_sorted = evaluation_sample(&sorted, 20, 1);
        of_sorted.sort_by_key(|record| records.iter().position(|other| other == record));
        assert_eq!(of_sorted, sample, "whose the records are changes nothing");
    }

    #[test]
    fn no_number_and_one_that_is_too_large_take_all() {
        for count in [0, 3, 4] {
            assert_eq!(evaluation_sample(&[5, 1, 9], count, 1), [5, 1, 9]);
        }
        assert!(evaluation_sample(&[], 4, 1).is_empty());
    }

    #[test]
    fn every_record_is_as_likely_as_another() {
        let records: Vec<u32> = (0..10).collect();
        let mut times = [0; 10];
        for seed in 0..1000 {
            evaluation_sample(&records, 3, seed).iter().for_each(|record| times[*record as usize] += 1);
        }
        assert!(times.iter().all(|times| (230..370).contains(times)), "{times:?}");
    }
}
