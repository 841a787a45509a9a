//! The functions of the WIT interface `host`: the policy's memory, plain random bits and what it says.

use std::sync::Arc;

use wasmtime::component::Resource;

use super::bindings::cellm::policy::host::Host;
use super::bindings::cellm::policy::types::LogLevel;
use super::charged_buffer::ChargedBuffer;
use super::error::Refusal;
use super::memory::{Entry, EntryKind, Memory};
use super::resources::Vector;
use super::state::State;

impl State {
    fn lent_memory(&mut self, call: &str) -> Result<&mut Memory, Refusal> {
        self.memory.as_mut().ok_or_else(|| Refusal::Misuse(format!("{call}: this hook has no memory")))
    }

    fn remember(&mut self, call: &str, key: &str, entry: Entry) -> Result<(), Refusal> {
        let limit = self.memory_limit;
        self.lent_memory(call)?.save(call, key, entry, limit)
    }
}

impl Host for State {
    fn random_bits(&mut self, seed: u64, number: u64, first: u64, count: u32) -> wasmtime::Result<Vec<u32>> {
        let _room = self.budget.charge(u64::from(count) * 4)?;
        Ok(cellm_kernels::random_bits(seed, number, first, count as usize))
    }

    fn load(&mut self, key: String) -> wasmtime::Result<Option<Resource<Vector>>> {
        let Some(Entry::Vector(values)) = self.lent_memory("host.load")?.get(EntryKind::Vector, &key) else {
            return Ok(None);
        };
        let values = ChargedBuffer::lend(values.clone(), &self.budget)?;
        Ok(Some(self.push(Vector(values))?))
    }

    fn save(&mut self, key: String, value: Resource<Vector>) -> wasmtime::Result<()> {
        let values = self.table.get(&value)?.0.share();
        Ok(self.remember("host.save", &key, Entry::Vector(values))?)
    }

    fn load_bytes(&mut self, key: String) -> wasmtime::Result<Option<Vec<u8>>> {
        let Some(Entry::Bytes(bytes)) = self.lent_memory("host.load-bytes")?.get(EntryKind::Bytes, &key) else {
            return Ok(None);
        };
        let bytes = bytes.clone();
        let _room = self.budget.charge(bytes.len() as u64)?;
        Ok(Some(bytes.to_vec()))
    }

    fn save_bytes(&mut self, key: String, value: Vec<u8>) -> wasmtime::Result<()> {
        Ok(self.remember("host.save-bytes", &key, Entry::Bytes(Arc::new(value)))?)
    }

    fn forget(&mut self, key: String) -> wasmtime::Result<()> {
        self.lent_memory("host.forget")?.forget(&key);
        Ok(())
    }

    fn log(&mut self, level: LogLevel, text: String) -> wasmtime::Result<()> {
        self.call_log.say(level, text);
        Ok(())
    }
}
