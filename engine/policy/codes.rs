//! The WIT resource `codes`: small integers that stand for values.

use wasmtime::component::Resource;

use super::bindings::cellm::policy::host::HostCodes;
use super::charged_buffer::ChargedBuffer;
use super::error::Refusal;
use super::state::{State, demand, range};
use super::vector::Vector;

/// Codes of 1 to 8 bits each.
#[derive(Debug, Clone)]
pub struct Codes {
    pub(super) bits: u8,
    pub(super) codes: ChargedBuffer<u8>,
}

/// Says what is wrong with codes that need more than their bits, or with the bits.
pub(super) fn check(bits: u8, codes: &[u8]) -> Result<(), String> {
    if !(1..=8).contains(&bits) {
        return Err(format!("codes of {bits} bits, 1 to 8 are allowed"));
    }
    let beyond = |code: u8| u32::from(code) >> bits > 0;
    // All bits together first, so that it vectorizes; which code it is is for the message alone.
    if !beyond(codes.iter().fold(0, |any, code| any | code)) {
        return Ok(());
    }
    let code = codes.iter().find(|code| beyond(**code)).copied().unwrap_or_default();
    Err(format!("code {code} does not fit {bits} bits"))
}

impl HostCodes for State {
    fn from_list(&mut self, bits: u8, codes: Vec<u8>) -> wasmtime::Result<Resource<Codes>> {
        check(bits, &codes).map_err(|reason| Refusal::Misuse(format!("codes.from-list: {reason}")))?;
        let codes = ChargedBuffer::make(codes.len(), &self.budget, || codes)?;
        self.push(Codes { bits, codes })
    }

    fn bits(&mut self, this: Resource<Codes>) -> wasmtime::Result<u8> {
        Ok(self.table.get(&this)?.bits)
    }

    fn count(&mut self, this: Resource<Codes>) -> wasmtime::Result<u32> {
        Ok(self.table.get(&this)?.codes.as_slice().len() as u32)
    }

    fn read(&mut self, this: Resource<Codes>, offset: u32, count: u32) -> wasmtime::Result<Vec<u8>> {
        Ok(range("codes.read", self.table.get(&this)?.codes.as_slice(), offset, count)?.to_vec())
    }

    fn dequantize(
        &mut self,
        this: Resource<Codes>,
        levels: Vec<f32>,
    ) -> wasmtime::Result<Result<Resource<Vector>, String>> {
        let found = levels.len();
        demand(found <= 256, || format!("codes.dequantize: {found} levels, 256 are allowed"))?;
        let codes = self.table.get(&this)?.codes.clone();
        let codes = codes.as_slice();
        let room = self.budget.charge(size_of_val(codes) as u64 * 4)?;
        let values = cellm_kernels::dequantize(codes, &levels);
        drop(room);
        Ok(match values {
            Ok(values) => Ok(self.new_vector(values.len(), || values)?),
            Err(reason) => Err(reason),
        })
    }

    fn drop(&mut self, this: Resource<Codes>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}
