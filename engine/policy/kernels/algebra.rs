//! The WIT interface `algebra`: small dense matrices.

use wasmtime::component::Resource;

use crate::policy::bindings::cellm::policy::algebra::{Decomposition, Host};
use crate::policy::resources::Vector;
use crate::policy::state::{State, demand};

/// Bytes of a value inside the kernels.
const WIDE: u64 = 8;
/// Rounds of rotations until a decomposition of finite values stands, with some to spare, and the most that are tried.
const SWEEPS: u128 = 12;
const MOST_SWEEPS: u128 = 60;

/// A trap unless a vector of `len` values is a matrix of this shape.
fn shaped(call: &str, len: usize, rows: u32, columns: u32) -> wasmtime::Result<()> {
    let fits = u128::from(rows) * u128::from(columns) == len as u128;
    Ok(demand(fits, || format!("{call}: {len} values are no {rows} x {columns} matrix"))?)
}

impl State {
    /// Room for numbers that a kernel holds in between, for as long as it runs.
    fn scratch(&self, numbers: u128) -> wasmtime::Result<impl Sized + use<>> {
        Ok(self.budget.charge(u64::try_from(numbers).unwrap_or(u64::MAX).saturating_mul(WIDE))?)
    }
}

impl Host for State {
    fn matmul(
        &mut self,
        a: Resource<Vector>,
        b: Resource<Vector>,
        m: u32,
        k: u32,
        n: u32,
        transpose_a: bool,
        transpose_b: bool,
    ) -> wasmtime::Result<Resource<Vector>> {
        let call = "algebra.matmul";
        let (a, b) = (self.values(&a)?, self.values(&b)?);
        let (a, b) = (a.as_slice(), b.as_slice());
        shaped(call, a.len(), m, k)?;
        shaped(call, b.len(), k, n)?;
        let product = u128::from(m) * u128::from(n);
        demand(product <= u128::from(u32::MAX), || {
            format!("{call}: a result of {product} values, limit {}", u32::MAX)
        })?;
        self.spend(call, product * u128::from(k))?;
        let _room = self.scratch(b.len() as u128 + product)?;
        let [m, k, n] = [m, k, n].map(|side| side as usize);
        self.new_vector(m * n, || cellm_kernels::matmul(a, b, m, k, n, transpose_a, transpose_b))
    }

    fn svd_of_product(
        &mut self,
        left: Resource<Vector>,
        right: Resource<Vector>,
        rows: u32,
        inner: u32,
        columns: u32,
        rank: u32,
    ) -> wasmtime::Result<Decomposition> {
        let call = "algebra.svd-of-product";
        let (left, right) = (self.values(&left)?, self.values(&right)?);
        let (left, right) = (left.as_slice(), right.as_slice());
        shaped(call, left.len(), rows, inner)?;
        shaped(call, right.len(), inner, columns)?;
        let most = rows.min(columns);
        demand(rank <= most, || format!("{call}: rank {rank} of a {rows} x {columns} product"))?;
        let finite = left.iter().chain(right).all(|value| value.is_finite());
        let [m, s, n, r] = [rows, inner, columns, rank].map(u128::from);
        let (p, q) = (m.min(s), n.min(s));
        let (short, long) = (p.min(q), p.max(q));
        let reflections = 4 * (m * p * s + n * q * s);
        let rotations = short * short / 2 * (12 * long + 6 * short) * if finite { SWEEPS } else { MOST_SWEEPS };
        let basis = (m + n) * r * (24 * r + 4 * s);
        self.spend(call, reflections + p * s * q + rotations + basis)?;
        let _room =
            self.scratch(4 * (left.len() + right.len()) as u128 + 4 * p * q + 2 * short * short + 2 * (m + n) * r)?;
        let _results = self.budget.charge(((m + n + 1) * r) as u64 * 4)?;
        let [m, s, n, r] = [rows, inner, columns, rank].map(|side| side as usize);
        let (left, values, right) = cellm_kernels::svd_of_product(left, right, m, s, n, r);
        drop(_results);
        Ok(Decomposition {
            left: self.new_vector(left.len(), || left)?,
            values: self.new_vector(values.len(), || values)?,
            right: self.new_vector(right.len(), || right)?,
        })
    }

    fn row_norms(&mut self, x: Resource<Vector>, rows: u32, columns: u32) -> wasmtime::Result<Resource<Vector>> {
        let x = self.values(&x)?;
        shaped("algebra.row-norms", x.as_slice().len(), rows, columns)?;
        let norms = || cellm_kernels::row_norms(x.as_slice(), rows as usize, columns as usize);
        self.new_vector(rows as usize, norms)
    }

    fn column_norms(&mut self, x: Resource<Vector>, rows: u32, columns: u32) -> wasmtime::Result<Resource<Vector>> {
        let x = self.values(&x)?;
        shaped("algebra.column-norms", x.as_slice().len(), rows, columns)?;
        let _squares = self.scratch(u128::from(columns))?;
        let norms = || cellm_kernels::column_norms(x.as_slice(), rows as usize, columns as usize);
        self.new_vector(columns as usize, norms)
    }

    fn scale_rows(&mut self, x: Resource<Vector>, columns: u32, factors: Resource<Vector>) -> wasmtime::Result<()> {
        let factors = self.values(&factors)?;
        let factors = factors.as_slice();
        shaped("algebra.scale-rows", self.len_of(&x)?, factors.len() as u32, columns)?;
        cellm_kernels::scale_rows(self.values_mut(&x)?, columns as usize, factors);
        Ok(())
    }

    fn scale_columns(&mut self, x: Resource<Vector>, columns: u32, factors: Resource<Vector>) -> wasmtime::Result<()> {
        let call = "algebra.scale-columns";
        let (len, factors) = (self.len_of(&x)?, self.values(&factors)?);
        let factors = factors.as_slice();
        let found = factors.len();
        demand(found == columns as usize, || format!("{call}: {found} factors for {columns} columns"))?;
        let rows = len.checked_div(found).unwrap_or(0);
        shaped(call, len, rows as u32, columns)?;
        cellm_kernels::scale_columns(self.values_mut(&x)?, columns as usize, factors);
        Ok(())
    }
}
