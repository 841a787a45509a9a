//! Small dense linear algebra, row-major, f32 in and out, f64 inside.

use cellm_kernels as kernels;

use super::{Vector, expect_fit};

/// A truncated singular value decomposition.
#[derive(Debug)]
pub struct Decomposition {
    /// `[rows, rank]`, orthonormal columns.
    pub left: Vector,
    /// `[rank]`, descending.
    pub values: Vector,
    /// `[rank, columns]`, orthonormal rows.
    pub right: Vector,
}

fn expect_shape(call: &str, x: &Vector, rows: u32, columns: u32) {
    expect_fit(call, x.len() as usize, rows as usize * columns as usize);
}

/// `a` is `[m, k]`, or `[k, m]` when transposed; `b` is `[k, n]`, or `[n, k]`; the result is `[m, n]`.
pub fn matmul(a: &Vector, b: &Vector, m: u32, k: u32, n: u32, transpose_a: bool, transpose_b: bool) -> Vector {
    expect_shape("algebra.matmul", a, m, k);
    expect_shape("algebra.matmul", b, k, n);
    let (m, k, n) = (m as usize, k as usize, n as usize);
    Vector::from_values(kernels::matmul(&a.shared(), &b.shared(), m, k, n, transpose_a, transpose_b))
}

/// Of `left [rows, inner]` times `right [inner, columns]`.
pub fn svd_of_product(left: &Vector, right: &Vector, rows: u32, inner: u32, columns: u32, rank: u32) -> Decomposition {
    expect_shape("algebra.svd-of-product", left, rows, inner);
    expect_shape("algebra.svd-of-product", right, inner, columns);
    assert!(rank <= rows.min(columns), "algebra.svd-of-product: rank {rank} of {rows} x {columns}");
    let (rows, inner, columns) = (rows as usize, inner as usize, columns as usize);
    let (u, s, v) = kernels::svd_of_product(&left.shared(), &right.shared(), rows, inner, columns, rank as usize);
    Decomposition { left: Vector::from_values(u), values: Vector::from_values(s), right: Vector::from_values(v) }
}

/// The norm of each row of `x [rows, columns]`.
pub fn row_norms(x: &Vector, rows: u32, columns: u32) -> Vector {
    expect_shape("algebra.row-norms", x, rows, columns);
    Vector::from_values(kernels::row_norms(&x.shared(), rows as usize, columns as usize))
}

/// The norm of each column.
pub fn column_norms(x: &Vector, rows: u32, columns: u32) -> Vector {
    expect_shape("algebra.column-norms", x, rows, columns);
    Vector::from_values(kernels::column_norms(&x.shared(), rows as usize, columns as usize))
}

/// Row number i of `x [rows, columns]` times `factors[i]`, in place.
pub fn scale_rows(x: &Vector, columns: u32, factors: &Vector) {
    expect_shape("algebra.scale-rows", x, factors.len(), columns);
    let factors = factors.shared();
    x.change(|x| kernels::scale_rows(x, columns as usize, &factors));
}

/// Column number i of `x [rows, columns]` times `factors[i]`, in place.
pub fn scale_columns(x: &Vector, columns: u32, factors: &Vector) {
    let rows = x.len().checked_div(columns).unwrap_or(0);
    expect_shape("algebra.scale-columns", x, rows, columns);
    expect_fit("algebra.scale-columns", factors.len() as usize, columns as usize);
    let factors = factors.shared();
    x.change(|x| kernels::scale_columns(x, columns as usize, &factors));
}
