//! Sets of coordinates as sorted lists without duplicates. Merges go without branches: which list is next is as good as
//! random.

use crate::top_k::pick_where;

/// Runs of `width` coordinates, the first at `offset`, one every `stride`, `times` of them. `stride` is at least `width`.
pub fn runs(offset: u32, width: u32, stride: u32, times: u32) -> Vec<u32> {
    let mut all = Vec::with_capacity(width as usize * times as usize);
    for run in 0..times {
        let first = offset + run * stride;
        all.extend(first..first + width);
    }
    all
}

/// Coordinates of either.
pub fn union(one: &[u32], other: &[u32]) -> Vec<u32> {
    let mut all = vec![0; one.len() + other.len()];
    let (mut i, mut j, mut count) = (0, 0, 0);
    while i < one.len() && j < other.len() {
        let (a, b) = (one[i], other[j]);
        all[count] = a.min(b);
        count += 1;
        i += usize::from(a <= b);
        j += usize::from(b <= a);
    }
    all.truncate(count);
    all.extend_from_slice(&one[i..]);
    all.extend_from_slice(&other[j..]);
    all
}

/// Coordinates of both.
pub fn intersection(one: &[u32], other: &[u32]) -> Vec<u32> {
    let mut both = vec![0; one.len().min(other.len())];
    let (mut i, mut j, mut count) = (0, 0, 0);
    while i < one.len() && j < other.len() {
        let (a, b) = (one[i], other[j]);
        both[count] = a;
        count += usize::from(a == b);
        i += usize::from(a <= b);
        j += usize::from(b <= a);
    }
    both.truncate(count);
    both
}

/// Coordinates below `space` that are not in `set`.
pub fn complement(space: u32, set: &[u32]) -> Vec<u32> {
    let mut free = vec![true; space as usize];
    for index in set {
        free[*index as usize] = false;
    }
    let mut rest = Vec::with_capacity((space as usize).saturating_sub(set.len()));
    pick_where(&free, 0, &mut rest, |free| free);
    rest
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn set() -> impl Strategy<Value = BTreeSet<u32>> {
        proptest::collection::btree_set(0..500_u32, 0..300)
    }

    proptest! {
        #[test]
        fn they_agree_with_tree_sets(one in set(), other in set()) {
            let (a, b): (Vec<u32>, Vec<u32>) = (one.iter().copied().collect(), other.iter().copied().collect());
            prop_assert_eq!(union(&a, &b), one.union(&other).copied().collect::<Vec<_>>());
            prop_assert_eq!(intersection(&a, &b), one.intersection(&other).copied().collect::<Vec<_>>());
            prop_assert_eq!(complement(500, &a), (0..500).filter(|index| !one.contains(index)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn runs_name_rows_and_columns() {
        assert_eq!(runs(3, 4, 4, 1), [3, 4, 5, 6]);
        assert_eq!(runs(10, 2, 5, 3), [10, 11, 15, 16, 20, 21]);
        assert!(runs(10, 0, 0, 3).is_empty() && runs(10, 2, 5, 0).is_empty());
    }
}
