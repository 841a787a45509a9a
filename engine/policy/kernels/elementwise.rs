//! Kernels that take two vectors of one length.

use wasmtime::component::Resource;

use crate::policy::resources::Vector;
use crate::policy::state::{State, same};
use crate::policy::vector::one_nan_wide;

impl State {
    /// Changes `this` by `x`, which may be the same vector.
    pub(in crate::policy) fn with_other(
        &mut self,
        call: &str,
        this: &Resource<Vector>,
        x: &Resource<Vector>,
        kernel: impl FnOnce(&mut [f32], &[f32]),
    ) -> wasmtime::Result<()> {
        let x = self.values(x)?;
        same(call, self.len_of(this)?, x.as_slice().len())?;
        kernel(self.values_mut(this)?, x.as_slice());
        Ok(())
    }

    /// A number that two vectors give.
    pub(in crate::policy) fn of_two(
        &mut self,
        call: &str,
        this: &Resource<Vector>,
        x: &Resource<Vector>,
        kernel: impl FnOnce(&[f32], &[f32]) -> f64,
    ) -> wasmtime::Result<f64> {
        let (own, x) = (self.table.get(this)?.0.as_slice(), self.table.get(x)?.0.as_slice());
        same(call, own.len(), x.len())?;
        Ok(one_nan_wide(kernel(own, x)))
    }
}
