//! The WIT resource `index-set`: sorted distinct coordinates below a space.

use wasmtime::component::Resource;

use super::bindings::cellm::policy::host::HostIndexSet;
use super::buffer::Buffer;
use super::state::{State, range};

/// Strictly increasing coordinates below `space`.
#[derive(Debug, Clone)]
pub struct IndexSet {
    pub(super) space: u32,
    pub(super) indices: Buffer<u32>,
}

/// Says what is wrong with coordinates that are not strictly increasing and below `space`.
pub(super) fn check(space: u32, indices: &[u32]) -> Result<(), String> {
    if let Some(pair) = indices.windows(2).find(|pair| pair[0] >= pair[1]) {
        return Err(format!("index {} follows {}, indices must increase", pair[1], pair[0]));
    }
    match indices.last() {
        Some(last) if *last >= space => Err(format!("index {last} is outside the space of {space}")),
        _ => Ok(()),
    }
}

impl HostIndexSet for State {
    fn from_list(&mut self, space: u32, indices: Vec<u32>) -> wasmtime::Result<Result<Resource<IndexSet>, String>> {
        if let Err(reason) = check(space, &indices) {
            return Ok(Err(reason));
        }
        let indices = Buffer::make(indices.len(), &self.budget, || indices)?;
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

    fn drop(&mut self, this: Resource<IndexSet>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}
