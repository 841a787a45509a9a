//! Coordinatewise order statistics over several vectors: the robust means.
//!
//! A block of coordinates is sorted for all of them at once by a sorting network (Batcher's odd-even merge sort), whose
//! comparisons do not depend on the values and so go in vector registers.

/// Coordinates that are sorted at once.
const BLOCK: usize = 256;

/// An integer that is ordered as the value is; NaN lies outside the infinities.
fn key(value: f32) -> i32 {
    let bits = value.to_bits() as i32;
    bits ^ (((bits >> 31) as u32) >> 1) as i32
}

/// The value of a key: the same flip again.
fn value(key: i32) -> f32 {
    f32::from_bits((key ^ (((key >> 31) as u32) >> 1) as i32) as u32)
}

/// Pairs of rows to be put in order, one after the other.
fn network(rows: usize) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    let size = rows.next_power_of_two();
    let mut p = 1;
    while p < size {
        let mut k = p;
        while k >= 1 {
            for j in (k % p..size - k).step_by(2 * k) {
                for i in j..(j + k).min(size - k) {
                    if i / (p * 2) == (i + k) / (p * 2) && i + k < rows {
                        pairs.push((i, i + k));
                    }
                }
            }
            k /= 2;
        }
        p *= 2;
    }
    pairs
}

/// Hands `finish` the sorted rows of each block of coordinates and where the result goes.
fn by_sorted_blocks(of: &[&[f32]], finish: impl Fn(&[[i32; BLOCK]], &mut [f32])) -> Vec<f32> {
    let len = of.first().map_or(0, |first| first.len());
    assert!(of.iter().all(|values| values.len() == len), "vectors of one length are needed");
    let pairs = network(of.len());
    let mut rows = vec![[0; BLOCK]; of.len()];
    let mut result = vec![0.0; len];
    for (number, out) in result.chunks_mut(BLOCK).enumerate() {
        let from = number * BLOCK;
        for (row, values) in rows.iter_mut().zip(of) {
            for (key_of, value) in row.iter_mut().zip(&values[from..from + out.len()]) {
                *key_of = key(*value);
            }
        }
        for (low, high) in &pairs {
            let (head, tail) = rows.split_at_mut(*high);
            for (a, b) in head[*low].iter_mut().zip(&mut tail[0]) {
                (*a, *b) = ((*a).min(*b), (*a).max(*b));
            }
        }
        finish(&rows, out);
    }
    result
}

/// Coordinatewise median; of an even number the mean of the two in the middle. Zeros of nothing.
pub fn median(of: &[&[f32]]) -> Vec<f32> {
    let (low, high) = (of.len().saturating_sub(1) / 2, of.len() / 2);
    by_sorted_blocks(of, |rows, out| {
        for ((out, low), high) in out.iter_mut().zip(&rows[low]).zip(&rows[high]) {
            *out = ((f64::from(value(*low)) + f64::from(value(*high))) / 2.0) as f32;
        }
    })
}

/// Coordinatewise mean without the `trim` smallest and the `trim` largest; more than `2 * trim` vectors are needed. The rest
/// is summed in f64 from the smallest on.
pub fn trimmed_mean(of: &[&[f32]], trim: usize) -> Vec<f32> {
    assert!(of.len() > 2 * trim, "trimmed_mean: {trim} trimmed at both ends of {}", of.len());
    let left = (of.len() - 2 * trim) as f64;
    by_sorted_blocks(of, |rows, out| {
        let mut sums = [0.0; BLOCK];
        for row in &rows[trim..of.len() - trim] {
            for (sum, key) in sums.iter_mut().zip(row) {
                *sum += f64::from(value(*key));
            }
        }
        for (out, sum) in out.iter_mut().zip(&sums) {
            *out = (sum / left) as f32;
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::random_normal;

    fn sorted_columns(of: &[Vec<f32>]) -> Vec<Vec<f32>> {
        let column = |i: usize| {
            let mut column: Vec<f32> = of.iter().map(|values| values[i]).collect();
            column.sort_by(f32::total_cmp);
            column
        };
        (0..of[0].len()).map(column).collect()
    }

    proptest! {
        #[test]
        fn they_agree_with_sorting_each_coordinate(count in 1..24_usize, len in 0..400_usize, seed in any::<u64>(), trim in 0..12_usize) {
            let of: Vec<Vec<f32>> = (0..count).map(|i| random_normal(len, seed, i as u64)).collect();
            let lent: Vec<&[f32]> = of.iter().map(Vec::as_slice).collect();
            let trim = trim.min((count - 1) / 2);
            let columns = sorted_columns(&of);
            let middle = |c: &Vec<f32>| ((f64::from(c[(count - 1) / 2]) + f64::from(c[count / 2])) / 2.0) as f32;
            prop_assert_eq!(median(&lent), columns.iter().map(middle).collect::<Vec<_>>());
            let rest = (count - 2 * trim) as f64;
            let mean = |c: &Vec<f32>| (c[trim..count - trim].iter().map(|v| f64::from(*v)).sum::<f64>() / rest) as f32;
            prop_assert_eq!(trimmed_mean(&lent, trim), columns.iter().map(mean).collect::<Vec<_>>());
        }
    }

    #[test]
    fn one_liar_does_not_move_the_median_far() {
        let of = [&[1.0][..], &[f32::NAN], &[2.0], &[3.0], &[f32::NEG_INFINITY]];
        assert_eq!(median(&of), [2.0]);
        assert_eq!(trimmed_mean(&of, 1), [2.0]);
    }

    #[test]
    fn of_nothing_nothing_comes() {
        assert!(median(&[]).is_empty());
    }
}
