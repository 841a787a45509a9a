//! The host's state for one running policy instance: its handles, its memory account, the memory that was lent to the
//! call under way, the lines that call logged, and its limits.

use wasmtime::component::{Resource, ResourceTable, ResourceTableError};

use super::LimitsConfig;
use super::budget::{Budget, MemoryLimiter};
use super::error::Refusal;
use super::log::CallLog;
use super::memory::Memory;

const MIB: u64 = 1 << 20;
/// Operations of a host kernel that a millisecond of the deadline buys; about what one core does.
const OPERATIONS_PER_MS: u64 = 1_000_000;

/// The data of a wasmtime store.
pub(super) struct State {
    pub table: ResourceTable,
    pub budget: Budget,
    pub limiter: MemoryLimiter,
    pub output_limit: u64,
    pub parts_limit: u32,
    pub memory: Option<Memory>,
    pub memory_limit: u64,
    pub call_log: CallLog,
    handles_limit: u32,
    operations: u64,
    operations_limit: u64,
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
            memory: None,
            memory_limit: u64::from(limits.state_mb) * MIB,
            call_log: CallLog::default(),
            handles_limit: limits.handles,
            operations: 0,
            operations_limit: limits.deadline_ms.saturating_mul(OPERATIONS_PER_MS),
        }
    }

    /// A new call has its operations before it.
    pub fn start_call(&mut self) {
        self.operations = 0;
    }

    /// Counts the operations of a kernel whose work grows faster than its memory, before it starts: nothing can stop it
    /// once it runs. What one call of the policy may have done is what the deadline buys, the same on every machine.
    pub fn spend(&mut self, call: &'static str, operations: u128) -> Result<(), Refusal> {
        let found = u64::try_from(operations).unwrap_or(u64::MAX).saturating_add(self.operations);
        if found > self.operations_limit {
            return Err(Refusal::Work { call, found, limit: self.operations_limit });
        }
        self.operations = found;
        Ok(())
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

/// A trap unless both are the same.
pub(super) fn same(call: &str, one: usize, other: usize) -> Result<(), Refusal> {
    let misfit = || Refusal::Misuse(format!("{call}: {one} values on one side, {other} on the other"));
    if one == other { Ok(()) } else { Err(misfit()) }
}

/// A trap unless it holds; `what` names the values.
pub(super) fn demand(holds: bool, what: impl FnOnce() -> String) -> Result<(), Refusal> {
    if holds { Ok(()) } else { Err(Refusal::Misuse(what())) }
}
