//! Kernels that choose coordinates, or work at chosen ones.

use wasmtime::component::Resource;

use crate::policy::charged_buffer::ChargedBuffer;
use crate::policy::resources::IndexSet;
use crate::policy::resources::Vector;
use crate::policy::state::{State, demand, range, same};

/// Bytes that a selection needs for a value in between.
const KEY_BYTES: u64 = 4;

impl State {
    pub(in crate::policy) fn select_largest(
        &mut self,
        this: &Resource<Vector>,
        (offset, count): (u32, u32),
        k: u32,
    ) -> wasmtime::Result<Resource<IndexSet>> {
        let values = self.values(this)?;
        let among = range("vector.top-k", values.as_slice(), offset, count)?;
        demand(k <= count, || format!("vector.top-k: {k} of {count} values"))?;
        let _keys = self.budget.charge(u64::from(count) * KEY_BYTES)?;
        let select = || cellm_kernels::top_k(among, offset, k as usize);
        let indices = ChargedBuffer::make(k as usize, &self.budget, select)?;
        let space = values.as_slice().len() as u32;
        self.push(IndexSet { space, indices })
    }

    pub(in crate::policy) fn select_largest_of_chunks(
        &mut self,
        this: &Resource<Vector>,
        (offset, count): (u32, u32),
        chunk: u32,
        k: u32,
    ) -> wasmtime::Result<Resource<IndexSet>> {
        let values = self.values(this)?;
        let among = range("vector.top-k-chunked", values.as_slice(), offset, count)?;
        demand(k <= chunk && chunk > 0, || format!("vector.top-k-chunked: {k} of chunks of {chunk} values"))?;
        let last = (u64::from(count % chunk) * u64::from(k)).div_ceil(u64::from(chunk));
        let chosen = u64::from(count / chunk) * u64::from(k) + last;
        // The list grows by doubling.
        let _room = self.budget.charge(u64::from(count.min(chunk)) * KEY_BYTES + chosen * 4)?;
        let select = || {
            let mut indices = cellm_kernels::top_k_chunked(among, offset, chunk as usize, k as usize);
            indices.shrink_to_fit();
            indices
        };
        let indices = ChargedBuffer::make(chosen as usize, &self.budget, select)?;
        let space = values.as_slice().len() as u32;
        self.push(IndexSet { space, indices })
    }

    pub(in crate::policy) fn select_nonzero(
        &mut self,
        this: &Resource<Vector>,
    ) -> wasmtime::Result<Resource<IndexSet>> {
        let values = self.values(this)?;
        let values = values.as_slice();
        let count = values.iter().filter(|value| **value != 0.0).count();
        // The list grows by doubling.
        let indices = ChargedBuffer::make_at_most(count * 2, &self.budget, || cellm_kernels::nonzero(values))?;
        self.push(IndexSet { space: values.len() as u32, indices })
    }

    pub(in crate::policy) fn gather_values(
        &mut self,
        this: &Resource<Vector>,
        at: &Resource<IndexSet>,
    ) -> wasmtime::Result<Resource<Vector>> {
        let (values, at) = (self.values(this)?, self.set_in("vector.gather", at, self.len_of(this)?)?);
        let indices = at.indices.as_slice();
        self.new_vector(indices.len(), || cellm_kernels::gather(values.as_slice(), indices))
    }

    pub(in crate::policy) fn write_at(
        &mut self,
        call: &str,
        this: &Resource<Vector>,
        at: &Resource<IndexSet>,
        x: &Resource<Vector>,
        kernel: impl FnOnce(&mut [f32], &[u32], &[f32]),
    ) -> wasmtime::Result<()> {
        let (at, x) = (self.set_in(call, at, self.len_of(this)?)?, self.values(x)?);
        same(call, at.indices.as_slice().len(), x.as_slice().len())?;
        kernel(self.values_mut(this)?, at.indices.as_slice(), x.as_slice());
        Ok(())
    }

    pub(in crate::policy) fn keep_values(
        &mut self,
        this: &Resource<Vector>,
        at: &Resource<IndexSet>,
    ) -> wasmtime::Result<()> {
        let at = self.set_in("vector.keep", at, self.len_of(this)?)?;
        let indices = at.indices.as_slice();
        let _kept = self.budget.charge(size_of_val(indices) as u64)?;
        cellm_kernels::keep(self.values_mut(this)?, indices);
        Ok(())
    }

    /// A set whose space is the length of the vector that it is used on.
    fn set_in(&self, call: &str, at: &Resource<IndexSet>, len: usize) -> wasmtime::Result<IndexSet> {
        let set = self.table.get(at)?;
        let misfit = || format!("{call}: coordinates below {} for {len} values", set.space);
        demand(set.space as usize == len, misfit)?;
        Ok(set.clone())
    }
}
