//! What the host keeps for one policy instance while it runs: its handles, its memory account and its limits.

use wasmtime::component::{Resource, ResourceTable, ResourceTableError};

use super::LimitsConfig;
use super::budget::{Budget, MemoryLimiter};
use super::error::Refusal;

const MIB: u64 = 1 << 20;

/// The data of a wasmtime store.
pub(super) struct State {
    pub table: ResourceTable,
    pub budget: Budget,
    pub limiter: MemoryLimiter,
    pub output_limit: u64,
    pub parts_limit: u32,
    handles_limit: u32,
}

impl State {
    pub fn new(limits: &LimitsConfig) -> Self {
        let budget = Budget::new(u64::from(limits.memory_mb) * MIB);
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.handles as usize);
        Self {
            table,
            limiter: MemoryLimiter::new(budget.clone()),
            budget,
            output_limit: u64::from(limits.output_mb) * MIB,
            parts_limit: limits.parts,
            handles_limit: limits.handles,
        }
    }

    /// Puts something into the table, if there is room.
    pub fn push<T: Send + 'static>(&mut self, held: T) -> wasmtime::Result<Resource<T>> {
        match self.table.push(held) {
            Err(ResourceTableError::Full) => Err(Refusal::Handles { limit: self.handles_limit }.into()),
            other => Ok(other?),
        }
    }
}

/// A range of a vector or index set; a trap if it reaches beyond.
pub(super) fn range<'a, T>(call: &str, held: &'a [T], offset: u32, count: u32) -> Result<&'a [T], Refusal> {
    let range = offset as usize..(offset as usize).saturating_add(count as usize);
    held.get(range).ok_or_else(|| {
        let len = held.len();
        Refusal::Misuse(format!("{call}: offset {offset} and count {count} reach beyond the length {len}"))
    })
}
