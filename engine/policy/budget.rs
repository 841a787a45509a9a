//! The memory account of one policy instance: its linear memory and everything that it holds in the host, against one limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wasmtime::ResourceLimiter;

use super::error::Refusal;

/// Table elements that a component may have; a function pointer each.
const TABLE_ELEMENTS: usize = 1_000_000;

/// Bytes used and the limit of them, shared by everything that was charged.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    used: Arc<AtomicU64>,
    limit: u64,
}

impl Budget {
    pub fn new(limit: u64) -> Self {
        Self { used: Arc::default(), limit }
    }

    /// Takes `bytes` until the charge is dropped.
    pub fn charge(&self, bytes: u64) -> Result<Charge, Refusal> {
        let found = self.used.load(Ordering::Relaxed).saturating_add(bytes);
        if found > self.limit {
            return Err(Refusal::Memory { found, limit: self.limit });
        }
        self.used.store(found, Ordering::Relaxed);
        Ok(Charge { used: self.used.clone(), bytes })
    }
}

/// Bytes taken from a [`Budget`]; given back on drop.
#[derive(Debug)]
pub(super) struct Charge {
    used: Arc<AtomicU64>,
    bytes: u64,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Charges the growth of linear memory. Memory never shrinks, so the charge stays until the instance goes.
#[derive(Debug)]
pub(super) struct MemoryLimiter {
    budget: Budget,
    grown: Vec<Charge>,
}

impl MemoryLimiter {
    pub fn new(budget: Budget) -> Self {
        Self { budget, grown: Vec::new() }
    }
}

impl ResourceLimiter for MemoryLimiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        self.grown.push(self.budget.charge(desired.saturating_sub(current) as u64)?);
        Ok(true)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS)
    }

    fn instances(&self) -> usize {
        100
    }

    fn tables(&self) -> usize {
        100
    }

    fn memories(&self) -> usize {
        16
    }
}
