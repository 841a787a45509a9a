//! The WIT resource `codes`: small integers that stand for values.

use wasmtime::component::Resource;

use super::bindings::cellm::policy::host::HostCodes;
use super::charged_buffer::ChargedBuffer;
use super::error::Refusal;
use super::resources::{Codes, Vector, check_codes};
use super::state::{State, demand, range};

impl HostCodes for State {
    fn from_list(&mut self, bits: u8, codes: Vec<u8>) -> wasmtime::Result<Resource<Codes>> {
        check_codes(bits, &codes).map_err(|reason| Refusal::Misuse(format!("codes.from-list: {reason}")))?;
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
