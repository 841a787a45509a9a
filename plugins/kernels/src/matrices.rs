//! Small dense matrices, row-major, f32 in and out, f64 inside.

use crate::reductions::norm;

/// `a` is `[m, k]`, or `[k, m]` when `ta`; `b` is `[k, n]`, or `[n, k]` when `tb`; the result is `[m, n]`.
pub fn matmul(a: &[f32], b: &[f32], m: usize, k: usize, n: usize, ta: bool, tb: bool) -> Vec<f32> {
    assert!(a.len() == m * k && b.len() == k * n, "matmul: {} and {} values for {m} x {k} x {n}", a.len(), b.len());
    let b = if tb { transposed(b, n, k) } else { b.iter().copied().map(f64::from).collect() };
    let (row_step, column_step) = if ta { (1, m) } else { (k, 1) };
    product(|i, j| f64::from(a[i * row_step + j * column_step]), &b, m, k, n).into_iter().map(|x| x as f32).collect()
}

/// `[m, k]` given by its entries times `b [k, n]`; each entry of the result is summed in the order of k.
pub(crate) fn product(a: impl Fn(usize, usize) -> f64, b: &[f64], m: usize, k: usize, n: usize) -> Vec<f64> {
    let mut out = vec![0.0; m * n];
    if n == 0 {
        return out;
    }
    for (i, row) in out.chunks_exact_mut(n).enumerate() {
        for (j, b) in b.chunks_exact(n).enumerate().take(k) {
            let factor = a(i, j);
            for (out, b) in row.iter_mut().zip(b) {
                *out += factor * b;
            }
        }
    }
    out
}

/// `x [rows, columns]` as `[columns, rows]`, in f64.
pub(crate) fn transposed(x: &[f32], rows: usize, columns: usize) -> Vec<f64> {
    let mut out = vec![0.0; x.len()];
    for i in 0..rows {
        for j in 0..columns {
            out[j * rows + i] = f64::from(x[i * columns + j]);
        }
    }
    out
}

/// The norm of each row of `x [rows, columns]`.
pub fn row_norms(x: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    assert_eq!(x.len(), rows * columns, "row_norms: {rows} x {columns}");
    (0..rows).map(|i| norm(&x[i * columns..(i + 1) * columns]) as f32).collect()
}

/// The norm of each column of `x [rows, columns]`; squares are summed from the first row on.
pub fn column_norms(x: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    assert_eq!(x.len(), rows * columns, "column_norms: {rows} x {columns}");
    let mut squares = vec![0.0; columns];
    for row in x.chunks_exact(columns.max(1)) {
        for (sum, value) in squares.iter_mut().zip(row) {
            *sum += f64::from(*value) * f64::from(*value);
        }
    }
    squares.into_iter().map(|sum| sum.sqrt() as f32).collect()
}

/// Row number i of `x [factors.len(), columns]` times `factors[i]`.
pub fn scale_rows(x: &mut [f32], columns: usize, factors: &[f32]) {
    assert_eq!(x.len(), factors.len() * columns, "scale_rows: {} x {columns}", factors.len());
    for (row, factor) in x.chunks_exact_mut(columns.max(1)).zip(factors) {
        row.iter_mut().for_each(|value| *value *= factor);
    }
}

/// Column number i of `x [rows, columns]` times `factors[i]`.
pub fn scale_columns(x: &mut [f32], columns: usize, factors: &[f32]) {
    assert!(factors.len() == columns && (columns == 0 || x.len().is_multiple_of(columns)), "scale_columns: {columns}");
    for row in x.chunks_exact_mut(columns.max(1)) {
        for (value, factor) in row.iter_mut().zip(factors) {
            *value *= factor;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random_normal;

    #[test]
    fn products_agree_with_the_definition_whatever_is_transposed() {
        let (m, k, n) = (5, 7, 3);
        for (ta, tb) in [(false, false), (true, false), (false, true), (true, true)] {
            let (a, b) = (random_normal(m * k, 1, 1), random_normal(k * n, 1, 2));
            let at = |i: usize, j: usize| f64::from(if ta { a[j * m + i] } else { a[i * k + j] });
            let bt = |i: usize, j: usize| f64::from(if tb { b[j * k + i] } else { b[i * n + j] });
            let got = matmul(&a, &b, m, k, n, ta, tb);
            for i in 0..m {
                for j in 0..n {
                    let want: f64 = (0..k).map(|l| at(i, l) * bt(l, j)).sum();
                    assert_eq!(got[i * n + j], want as f32);
                }
            }
        }
    }

    #[test]
    fn empty_sides_give_zeros() {
        assert_eq!(matmul(&[], &[], 2, 0, 2, false, false), [0.0; 4]);
        assert!(matmul(&[], &[1.0, 2.0], 0, 1, 2, false, false).is_empty());
        assert!(matmul(&[1.0, 2.0], &[], 2, 1, 0, false, false).is_empty());
        assert_eq!(row_norms(&[], 2, 0), [0.0; 2]);
        assert_eq!(column_norms(&[], 0, 2), [0.0; 2]);
        scale_rows(&mut [], 0, &[1.0]);
        scale_columns(&mut [], 0, &[]);
    }

    #[test]
    fn norms_and_factors_go_by_row_and_column() {
        let mut x = [3.0, 0.0, 4.0, 0.0, 5.0, 12.0];
        assert_eq!(row_norms(&x, 2, 3), [5.0, 13.0]);
        assert_eq!(column_norms(&x, 3, 2), [(9.0_f32 + 16.0 + 25.0).sqrt(), 12.0]);
        scale_rows(&mut x, 3, &[2.0, -1.0]);
        assert_eq!(x, [6.0, 0.0, 8.0, 0.0, -5.0, -12.0]);
        scale_columns(&mut x, 3, &[1.0, 0.0, 0.5]);
        assert_eq!(x, [6.0, 0.0, 4.0, 0.0, 0.0, -6.0]);
    }
}
