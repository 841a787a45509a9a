//! The truncated singular value decomposition of a product of two factors, robust before fast: Householder reflections
//! bring it to a small core, one-sided Jacobi rotations decompose the core. Additions, products and square roots only.

use crate::matrices::{product, transposed};

/// Rotations stop when no pair of columns is further from a right angle than this.
const TOLERANCE: f64 = 1e-14;
const SWEEPS: usize = 60;
/// Directions with less than this share of the largest singular value are rounding noise and are replaced.
const NOISE: f64 = 1e-13;

/// Of `left [rows, inner]` times `right [inner, columns]`: `(left [rows, rank], values [rank] descending,
/// right [rank, columns])` with orthonormal columns and rows; the first nonzero value of each row of the right factor is
/// positive. `rank` is at most the smaller of `rows` and `columns`. Where the product has a lower rank the values are zero
/// and the vectors complete the basis. Costs about `(rows + columns) * s^2 + 30 * s^3` with `s = min(inner, rows, columns)`.
pub fn svd_of_product(
    left: &[f32],
    right: &[f32],
    rows: usize,
    inner: usize,
    columns: usize,
    rank: usize,
) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    assert!(
        left.len() == rows * inner && right.len() == inner * columns,
        "svd_of_product: {rows} x {inner} x {columns}"
    );
    assert!(rank <= rows.min(columns), "svd_of_product: rank {rank} of {rows} x {columns}");
    // Columns as lists: the left factor's, and those of the transposed right factor.
    let left = Reduced::of(split(&transposed(left, rows, inner), rows, inner), rows);
    let right: Vec<f64> = right.iter().copied().map(f64::from).collect();
    let right = Reduced::of(split(&right, columns, inner), columns);
    let (p, q) = (left.height, right.height);
    // The core R1 R2^T, column by column: q columns of height p.
    let core = product(|j, l| right.r[l][j], &left.r.concat(), q, inner, p);
    let core = split(&core, p, q);
    let (mut us, values, mut vs) = if q <= p {
        jacobi(core)
    } else {
        let turned = (0..p).map(|i| core.iter().map(|column| column[i]).collect()).collect();
        let (vs, values, us) = jacobi(turned);
        (us, values, vs)
    };
    let noise = values.first().copied().unwrap_or(0.0) * NOISE;
    let kept = values.iter().take(rank).take_while(|value| **value > noise).count();
    for (side, basis) in [(&mut us, &left), (&mut vs, &right)] {
        side.truncate(kept);
        side.iter_mut().for_each(|column| basis.lift(column));
        complete(side, rank, basis.full);
    }
    for (u, v) in us.iter_mut().zip(&mut vs) {
        // The sign is looked up after rounding: what rounds to zero is zero to the caller.
        if v.iter().find(|x| **x as f32 != 0.0).is_some_and(|x| *x < 0.0) {
            u.iter_mut().chain(v.iter_mut()).for_each(|x| *x = -*x);
        }
    }
    let mut out_left = vec![0.0; rows * rank];
    for (j, u) in us.iter().enumerate() {
        u.iter().enumerate().for_each(|(i, x)| out_left[i * rank + j] = *x as f32);
    }
    let value = |i: usize| if i < kept { values[i] as f32 } else { 0.0 };
    (out_left, (0..rank).map(value).collect(), vs.concat().into_iter().map(|x| x as f32).collect())
}

/// `count` columns of `height` from one list.
fn split(values: &[f64], height: usize, count: usize) -> Vec<Vec<f64>> {
    (0..count).map(|j| values[j * height..(j + 1) * height].to_vec()).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).fold(0.0, |sum, (a, b)| sum + a * b)
}

/// A tall matrix as `Q R`: the reflections that make Q, and R's columns cut to `height`. One that is not tall stays itself.
struct Reduced {
    /// Unit normals of the reflections, number i from row i on; empty where nothing is to be reflected.
    normals: Vec<Vec<f64>>,
    r: Vec<Vec<f64>>,
    height: usize,
    full: usize,
}

impl Reduced {
    fn of(mut columns: Vec<Vec<f64>>, full: usize) -> Self {
        let count = columns.len();
        if full <= count {
            return Self { normals: Vec::new(), r: columns, height: full, full };
        }
        let mut normals = Vec::with_capacity(count);
        for i in 0..count {
            let normal = normal_of(&columns[i][i..]);
            for column in &mut columns[i..] {
                reflect(&normal, &mut column[i..]);
            }
            normals.push(normal);
        }
        columns.iter_mut().for_each(|column| column.truncate(count));
        Self { normals, r: columns, height: count, full }
    }

    /// `Q x` in place.
    fn lift(&self, x: &mut Vec<f64>) {
        x.resize(self.full, 0.0);
        for (i, normal) in self.normals.iter().enumerate().rev() {
            reflect(normal, &mut x[i..]);
        }
    }
}

/// The unit normal of the reflection that brings `x` onto its first axis; empty where `x` is zero.
fn normal_of(x: &[f64]) -> Vec<f64> {
    // Scaled first: squares of tiny values would vanish.
    let largest = x.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
    if largest == 0.0 || !largest.is_finite() {
        return Vec::new();
    }
    let mut normal: Vec<f64> = x.iter().map(|value| value / largest).collect();
    let length = dot(&normal, &normal).sqrt();
    normal[0] += if normal[0] < 0.0 { -length } else { length };
    let length = dot(&normal, &normal).sqrt();
    normal.iter_mut().for_each(|value| *value /= length);
    normal
}

fn reflect(normal: &[f64], x: &mut [f64]) {
    let twice = 2.0 * dot(normal, x);
    for (x, n) in x.iter_mut().zip(normal) {
        *x -= twice * n;
    }
}

/// One-sided Jacobi: rotates pairs of columns until all are at right angles. Gives unit left vectors, singular values
/// descending and unit right vectors, as many as there are columns; a zero value's left vector is zero.
fn jacobi(mut columns: Vec<Vec<f64>>) -> (Vec<Vec<f64>>, Vec<f64>, Vec<Vec<f64>>) {
    let count = columns.len();
    let mut turns: Vec<Vec<f64>> =
        (0..count).map(|i| (0..count).map(|j| f64::from(u8::from(i == j))).collect()).collect();
    for _ in 0..SWEEPS {
        let mut turned = false;
        for j in 1..count {
            for i in 0..j {
                turned |= turn(&mut columns, &mut turns, i, j);
            }
        }
        if !turned {
            break;
        }
    }
    let values: Vec<f64> = columns.iter().map(|column| dot(column, column).sqrt()).collect();
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|a, b| values[*b].total_cmp(&values[*a]));
    let unit = |i: usize| columns[i].iter().map(|x| if values[i] > 0.0 { x / values[i] } else { 0.0 }).collect();
    (
        order.iter().map(|i| unit(*i)).collect(),
        order.iter().map(|i| values[*i]).collect(),
        order.iter().map(|i| turns[*i].clone()).collect(),
    )
}

/// Brings columns i and j to a right angle; false where they are.
fn turn(columns: &mut [Vec<f64>], turns: &mut [Vec<f64>], i: usize, j: usize) -> bool {
    let (a, b) = (dot(&columns[i], &columns[i]), dot(&columns[j], &columns[j]));
    let together = dot(&columns[i], &columns[j]);
    if together == 0.0 || together.abs() <= TOLERANCE * a.sqrt() * b.sqrt() {
        return false;
    }
    let zeta = (b - a) / (2.0 * together);
    let tangent = zeta.signum() / (zeta.abs() + (1.0 + zeta * zeta).sqrt());
    let cosine = 1.0 / (1.0 + tangent * tangent).sqrt();
    for side in [columns, turns] {
        let (head, tail) = side.split_at_mut(j);
        for (x, y) in head[i].iter_mut().zip(&mut tail[0]) {
            (*x, *y) = (cosine * *x - tangent * cosine * *y, tangent * cosine * *x + cosine * *y);
        }
    }
    true
}

/// Adds unit vectors at right angles to all others until there are `count`.
fn complete(vectors: &mut Vec<Vec<f64>>, count: usize, height: usize) {
    let mut axis = 0;
    while vectors.len() < count && axis < height {
        let mut candidate = vec![0.0; height];
        candidate[axis] = 1.0;
        axis += 1;
        // Twice is enough (Kahan): the second pass takes away what rounding left.
        for _ in 0..2 {
            for vector in vectors.iter() {
                let along = dot(vector, &candidate);
                candidate.iter_mut().zip(vector).for_each(|(x, v)| *x -= along * v);
            }
        }
        let length = dot(&candidate, &candidate).sqrt();
        // The axes leave (height - found) of their squared lengths to share, so enough of them are this long.
        if length * length * 2.0 * height as f64 > (height - vectors.len()) as f64 {
            candidate.iter_mut().for_each(|x| *x /= length);
            vectors.push(candidate);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{matmul, random_normal};

    fn is_orthonormal(vectors: &[f32], count: usize, step: usize, stride: usize, height: usize) -> bool {
        (0..count).all(|a| {
            (0..=a).all(|b| {
                let at = |v: usize, i: usize| f64::from(vectors[v * step + i * stride]);
                let dot: f64 = (0..height).map(|i| at(a, i) * at(b, i)).sum();
                (dot - f64::from(u8::from(a == b))).abs() < 1e-5
            })
        })
    }

    /// Decomposes, checks all that is promised, and gives the largest error of the reconstruction and the values.
    fn check(left: &[f32], right: &[f32], rows: usize, inner: usize, columns: usize, rank: usize) -> (f32, Vec<f32>) {
        let (u, s, v) = svd_of_product(left, right, rows, inner, columns, rank);
        assert!(is_orthonormal(&u, rank, 1, rank, rows), "left of {rows} x {inner} x {columns}");
        assert!(is_orthonormal(&v, rank, columns, 1, columns), "right of {rows} x {inner} x {columns}");
        assert!(s.windows(2).all(|pair| pair[0] >= pair[1]) && s.iter().all(|value| *value >= 0.0));
        for row in v.chunks(columns) {
            assert!(row.iter().find(|x| **x != 0.0).is_some_and(|x| *x > 0.0));
        }
        let mut scaled = u;
        crate::scale_columns(&mut scaled, rank, &s);
        let again = matmul(&scaled, &v, rows, rank, columns, false, false);
        let whole = matmul(left, right, rows, inner, columns, false, false);
        (whole.iter().zip(&again).fold(0.0, |worst, (a, b)| worst.max((a - b).abs())), s)
    }

    #[test]
    fn a_full_rank_decomposition_gives_the_product_back() {
        for (rows, inner, columns) in
            [(20, 4, 30), (30, 4, 20), (5, 9, 7), (7, 9, 5), (6, 6, 6), (1, 1, 1), (1, 5, 8), (8, 5, 1), (12, 20, 3)]
        {
            let (left, right) = (random_normal(rows * inner, 1, 1), random_normal(inner * columns, 1, 2));
            let rank = inner.min(rows).min(columns);
            let (error, _) = check(&left, &right, rows, inner, columns, rank);
            assert!(error < 1e-4, "{rows} x {inner} x {columns}: {error}");
        }
    }

    #[test]
    fn known_values_come_out_and_truncation_leaves_the_next_one() {
        // Diagonal 5, 3, 1: the best approximation of rank 2 is off by 1.
        let left = [5.0, 0.0, 0.0, 0.0, 3.0, 0.0, 0.0, 0.0, -1.0];
        let identity = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
        let (error, values) = check(&left, &identity, 3, 3, 3, 2);
        assert_eq!((error, values), (1.0, vec![5.0, 3.0]));
        assert_eq!(check(&left, &identity, 3, 3, 3, 3).1, [5.0, 3.0, 1.0]);
    }

    #[test]
    fn zero_and_rank_deficient_products_still_have_a_basis() {
        for (rows, inner, columns, rank) in [(6, 2, 5, 4), (4, 9, 6, 4), (3, 3, 3, 3), (5, 1, 5, 5), (4, 0, 4, 2)] {
            let (error, values) =
                check(&vec![0.0; rows * inner], &vec![0.0; inner * columns], rows, inner, columns, rank);
            assert!(error == 0.0 && values.iter().all(|value| *value == 0.0));
            let ones = check(&vec![1.0; rows * inner], &vec![0.5; inner * columns], rows, inner, columns, rank);
            let largest = 0.5 * inner as f32 * ((rows * columns) as f32).sqrt();
            assert!(ones.0 < 1e-5 && (ones.1[0] - largest).abs() < 1e-4, "{rows} x {inner} x {columns}: {ones:?}");
            assert!(ones.1[1..].iter().all(|value| *value < 1e-5));
        }
    }

    #[test]
    fn tiny_and_huge_values_keep_their_digits() {
        for size in [1e-30_f32, 1e15] {
            let (mut left, right) = (random_normal(10 * 3, 1, 1), random_normal(3 * 8, 1, 2));
            crate::scale(&mut left, size);
            let (error, values) = check(&left, &right, 10, 3, 8, 3);
            assert!(error < values[0] * 1e-6, "{size}: {error} of {values:?}");
        }
    }

    #[test]
    fn equal_values_and_a_rank_of_zero_are_no_trouble() {
        let identity: Vec<f32> = (0..64).map(|i| f32::from(u8::from(i % 9 == 0))).collect();
        let (error, values) = check(&identity, &identity, 8, 8, 8, 8);
        assert!(error == 0.0 && values == [1.0; 8]);
        assert_eq!(svd_of_product(&identity, &identity, 8, 8, 8, 0), (vec![], vec![], vec![]));
    }

    #[test]
    fn what_is_not_finite_ends_too() {
        let (_, values, _) = svd_of_product(&[f32::NAN; 6], &[1.0; 6], 3, 2, 3, 2);
        assert_eq!(values.len(), 2);
    }
}
