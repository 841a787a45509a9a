//! The largest `k` by absolute value, exactly, in O(n) and without sorting: a radix select on the bits.

/// Bits of the first digit: 8 of exponent and 4 of mantissa.
const FIRST_DIGIT: u32 = 12;
const REST: u32 = 31 - FIRST_DIGIT;
/// Every NaN ranks alike, above infinity.
const NAN: u32 = 0x7f80_0001;
/// Values looked at before the chosen ones are handed on.
const CHUNK: usize = 1024;
/// Values below which counting digits costs more than it saves.
const SMALL: usize = 4096;

/// Bits of the absolute value: ordered as the value is, for finite ones and infinity; of a NaN, [`NAN`] or more.
fn bits(value: f32) -> u32 {
    value.to_bits() & 0x7fff_ffff
}

/// The same with one key for every NaN.
fn key(value: f32) -> u32 {
    bits(value).min(NAN)
}

/// Indices of the `k` largest absolute values, increasing, each plus `offset`; of equal ones the lower index is taken.
/// NaN counts as larger than everything. `k` above the length takes all.
pub fn top_k(values: &[f32], offset: u32, k: usize) -> Vec<u32> {
    let k = k.min(values.len());
    let mut chosen = Vec::with_capacity(k);
    if k == 0 {
        return chosen;
    }
    let (threshold, ties, ties_taken) = threshold(values, k);
    // Up to the last tie that is taken everything from the threshold on counts, behind it only what is above.
    let last_tie = if ties == ties_taken {
        values.len()
    } else {
        let taken = values.iter().enumerate().filter(|(_, value)| key(**value) == threshold);
        taken.map(|(index, _)| index + 1).take(ties_taken).last().unwrap_or(0)
    };
    let (head, tail) = values.split_at(last_tie);
    pick(head, offset, threshold, &mut chosen);
    pick(tail, offset + last_tie as u32, threshold + 1, &mut chosen);
    chosen
}

/// The `k` largest of each chunk of `chunk` values, as [`top_k`] chooses them; a shorter last chunk gives its share of `k`,
/// rounded up.
pub fn top_k_chunked(values: &[f32], offset: u32, chunk: usize, k: usize) -> Vec<u32> {
    assert!(chunk > 0, "top_k_chunked: chunks of 0 values");
    let mut chosen = Vec::new();
    for (number, values) in values.chunks(chunk).enumerate() {
        let share = (k as u64 * values.len() as u64).div_ceil(chunk as u64) as usize;
        chosen.append(&mut top_k(values, offset + (number * chunk) as u32, share));
    }
    chosen
}

/// The key of the `k`-th largest value, how many values have it, and how many of those are among the `k`.
fn threshold(values: &[f32], k: usize) -> (u32, usize, usize) {
    let mut keys = Vec::new();
    let left = if values.len() < SMALL {
        keys.extend(values.iter().map(|value| key(*value)));
        k
    } else {
        let (digit, left) = first_digit(values, k);
        collect_digit(values, digit, &mut keys);
        left
    };
    let (_, found, above) = keys.select_nth_unstable_by(left - 1, |a, b| b.cmp(a));
    let found = *found;
    // What select left before the found key is not below it, what is behind is not above it.
    let ties_behind = above.iter().filter(|key| **key == found).count();
    let larger = keys[..left].iter().filter(|key| **key > found).count();
    let ties_taken = left - larger;
    (found, ties_taken + ties_behind, ties_taken)
}

/// The first digit of the `k`-th largest key, and its rank among the keys with this digit.
fn first_digit(values: &[f32], k: usize) -> (u32, usize) {
    // Four histograms in turn: equal neighbours do not wait for each other's store.
    let mut counts = vec![[0_u32; 1 << FIRST_DIGIT]; 4];
    let mut quads = values.chunks_exact(4);
    if let [a, b, c, d] = counts.as_mut_slice() {
        for quad in &mut quads {
            a[(bits(quad[0]) >> REST) as usize] += 1;
            b[(bits(quad[1]) >> REST) as usize] += 1;
            c[(bits(quad[2]) >> REST) as usize] += 1;
            d[(bits(quad[3]) >> REST) as usize] += 1;
        }
        for value in quads.remainder() {
            a[(bits(*value) >> REST) as usize] += 1;
        }
    }
    // Digits above that of the key of a NaN are of others.
    for histogram in &mut counts {
        let others: u32 = histogram[(NAN >> REST) as usize + 1..].iter().sum();
        histogram[(NAN >> REST) as usize] += others;
    }
    let mut left = k;
    let mut digit = (NAN >> REST) as usize;
    loop {
        let count: usize = counts.iter().map(|histogram| histogram[digit] as usize).sum();
        if left <= count || digit == 0 {
            return (digit as u32, left);
        }
        left -= count;
        digit -= 1;
    }
}

/// The keys of all values with this first digit.
fn collect_digit(values: &[f32], digit: u32, keys: &mut Vec<u32>) {
    let mut buffer = [0; CHUNK];
    for chunk in values.chunks(CHUNK) {
        let mut found = 0;
        for value in chunk {
            let key = key(*value);
            buffer[found % CHUNK] = key;
            found += usize::from(key >> REST == digit);
        }
        keys.extend_from_slice(&buffer[..found]);
    }
}

/// Hands on the indices of all values whose key is `least` or more.
fn pick(values: &[f32], offset: u32, least: u32, chosen: &mut Vec<u32>) {
    // Above the key of a NaN there is none, and up to it bits order as keys do.
    if least <= NAN {
        pick_where(values, offset, chosen, |value| bits(value) >= least);
    }
}

/// Hands on the indices, each plus `offset`, of all values that are wanted. Branch-free: what is wanted is as good as random.
pub(crate) fn pick_where<T: Copy>(values: &[T], offset: u32, chosen: &mut Vec<u32>, wanted: impl Fn(T) -> bool) {
    let mut buffer = [0; CHUNK];
    let mut index = offset;
    for chunk in values.chunks(CHUNK) {
        let mut found = 0;
        for value in chunk {
            buffer[found % CHUNK] = index;
            found += usize::from(wanted(*value));
            index = index.wrapping_add(1);
        }
        chosen.extend_from_slice(&buffer[..found]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn by_sorting(values: &[f32], k: usize) -> Vec<u32> {
        let mut order: Vec<u32> = (0..values.len() as u32).collect();
        order.sort_by_key(|index| (std::cmp::Reverse(key(values[*index as usize])), *index));
        order.truncate(k);
        order.sort_unstable();
        order
    }

    /// Values of all kinds, NaN and infinities among them, every other one of a few that repeat.
    fn values(seed: u64, len: usize) -> Vec<f32> {
        let repeated = [0.0, -1.0, 1.0, f32::NAN, 1.0, -0.0];
        let value = |word: &u32| match word % 2 {
            0 => f32::from_bits(*word),
            _ => repeated[(word >> 1) as usize % repeated.len()],
        };
        crate::random_bits(seed, 0, 0, len).iter().map(value).collect()
    }

    proptest! {
        #[test]
        fn it_chooses_what_sorting_chooses(seed in any::<u64>(), len in 1..9000_usize, share in 0.0..1.0_f64) {
            let values = values(seed, len);
            let k = ((len as f64 * share) as usize).max(1);
            prop_assert_eq!(top_k(&values, 0, k), by_sorting(&values, k));
        }
    }

    #[test]
    fn of_equals_the_lower_index_is_taken() {
        assert_eq!(top_k(&[1.0, -1.0, 1.0, 2.0, -1.0], 10, 3), [10, 11, 13]);
        assert_eq!(top_k(&[0.0; 5000], 0, 3), [0, 1, 2]);
    }

    #[test]
    fn nan_is_seen_first_and_breaks_nothing() {
        assert_eq!(top_k(&[1.0, f32::INFINITY, -f32::NAN, f32::NAN], 0, 2), [2, 3]);
    }

    #[test]
    fn chunks_give_their_share_each() {
        let values: Vec<f32> = (0..10).map(|i| i as f32).collect();
        assert_eq!(top_k_chunked(&values, 100, 4, 2), [102, 103, 106, 107, 109]);
        assert_eq!(top_k_chunked(&values, 0, 4, 1), [3, 7, 9]);
        assert_eq!(top_k_chunked(&values, 0, 100, 3), top_k(&values, 0, 1), "3 of 100 are 0.3 of 10, rounded up");
        assert!(top_k_chunked(&[], 0, 4, 2).is_empty());
    }
}
