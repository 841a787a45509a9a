//! The WIT resource `index-set`: sorted distinct coordinates below a space.

use wasmtime::component::Resource;

use super::bindings::cellm::policy::host::HostIndexSet;
use super::charged_buffer::ChargedBuffer;
use super::resources::{IndexSet, check_indices};
use super::state::{State, demand, range};

impl State {
    /// Two sets of one space.
    fn two_sets(
        &self,
        call: &str,
        this: &Resource<IndexSet>,
        other: &Resource<IndexSet>,
    ) -> wasmtime::Result<(IndexSet, IndexSet)> {
        let (one, other) = (self.table.get(this)?.clone(), self.table.get(other)?.clone());
        let misfit = || format!("{call}: coordinates below {} and below {}", one.space, other.space);
        demand(one.space == other.space, misfit)?;
        Ok((one, other))
    }
}

impl HostIndexSet for State {
    fn from_list(&mut self, space: u32, indices: Vec<u32>) -> wasmtime::Result<Result<Resource<IndexSet>, String>> {
        if let Err(reason) = check_indices(space, &indices) {
            return Ok(Err(reason));
        }
        let indices = ChargedBuffer::make(indices.len(), &self.budget, || indices)?;
        Ok(Ok(self.push(IndexSet { space, indices })?))
    }

    fn space(&mut self, this: Resource<IndexSet>) -> wasmtime::Result<u32> {
        Ok(self.table.get(&this)?.space)
    }

    fn count(&mut self, this: Resource<IndexSet>) -> wasmtime::Result<u32> {
        Ok(self.table.get(&this)?.indices.as_slice().len() as u32)
    }

    fn read(&mut self, this: Resource<IndexSet>, offset: u32, count: u32) -> wasmtime::Result<Vec<u32>> {
        Ok(range("index-set.read", self.table.get(&this)?.indices.as_slice(), offset, count)?.to_vec())
    }

    fn runs(
        &mut self,
        space: u32,
        offset: u32,
        width: u32,
        stride: u32,
        times: u32,
    ) -> wasmtime::Result<Resource<IndexSet>> {
        let call = "index-set.runs";
        let count = u64::from(width) * u64::from(times);
        if count == 0 {
            let indices = ChargedBuffer::make(0, &self.budget, Vec::new)?;
            return self.push(IndexSet { space, indices });
        }
        demand(stride >= width, || format!("{call}: runs of {width} coordinates, one every {stride}"))?;
        let end = u64::from(offset) + u64::from(times - 1) * u64::from(stride) + u64::from(width);
        demand(end <= u64::from(space), || format!("{call}: coordinates up to {end} in a space of {space}"))?;
        let make = || cellm_kernels::runs(offset, width, stride, times);
        let indices = ChargedBuffer::make(count as usize, &self.budget, make)?;
        self.push(IndexSet { space, indices })
    }

    fn union(&mut self, this: Resource<IndexSet>, other: Resource<IndexSet>) -> wasmtime::Result<Resource<IndexSet>> {
        let (one, other) = self.two_sets("index-set.union", &this, &other)?;
        let (space, one, other) = (one.space, one.indices.as_slice(), other.indices.as_slice());
        let unite = || cellm_kernels::union(one, other);
        let indices = ChargedBuffer::make_at_most(one.len() + other.len(), &self.budget, unite)?;
        self.push(IndexSet { space, indices })
    }

    fn intersection(
        &mut self,
        this: Resource<IndexSet>,
        other: Resource<IndexSet>,
    ) -> wasmtime::Result<Resource<IndexSet>> {
        let (one, other) = self.two_sets("index-set.intersection", &this, &other)?;
        let (space, one, other) = (one.space, one.indices.as_slice(), other.indices.as_slice());
        let intersect = || cellm_kernels::intersection(one, other);
        let indices = ChargedBuffer::make_at_most(one.len().min(other.len()), &self.budget, intersect)?;
        self.push(IndexSet { space, indices })
    }

    fn complement(&mut self, this: Resource<IndexSet>) -> wasmtime::Result<Resource<IndexSet>> {
        let set = self.table.get(&this)?.clone();
        let (space, indices) = (set.space, set.indices.as_slice());
        // A mark for each coordinate while the rest is found.
        let _marks = self.budget.charge(u64::from(space))?;
        let rest = || cellm_kernels::complement(space, indices);
        let indices = ChargedBuffer::make(space as usize - indices.len(), &self.budget, rest)?;
        self.push(IndexSet { space, indices })
    }

    fn drop(&mut self, this: Resource<IndexSet>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}
