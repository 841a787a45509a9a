//! The WIT resource `message`: parts that an encoder puts and a decoder takes, in order.

use wasmtime::component::Resource;

use super::bindings::cellm::policy::host::HostMessage;
use super::bindings::cellm::policy::types::{self as wit, PolicyError as WitError};
use super::charged_buffer::ChargedBuffer;
use super::error::Refusal;
use super::resources::{Codes, HeldPart, IndexSet, MessageParts, Vector, check_codes, check_indices, coding_name};
use super::state::{State, demand};
use crate::adapter::ValueCoding;

impl State {
    fn put(&mut self, message: &Resource<MessageParts>, part: HeldPart, bytes: usize) -> wasmtime::Result<()> {
        let (limit, parts_limit) = (self.output_limit, self.parts_limit);
        let message = self.table.get_mut(message)?;
        demand(!message.received, || "message.put: this message was received, it takes no more parts".into())?;
        let found = message.bytes.saturating_add(bytes as u64);
        if found > limit {
            return Err(Refusal::Output { found, limit, unit: "bytes", key: "limits.output_mb" }.into());
        }
        if message.parts.len() >= parts_limit as usize {
            let (found, limit) = (u64::from(parts_limit) + 1, u64::from(parts_limit));
            return Err(Refusal::Output { found, limit, unit: "parts", key: "limits.parts" }.into());
        }
        message.bytes = found;
        message.parts.push_back(part);
        Ok(())
    }

    fn take(&mut self, message: &Resource<MessageParts>) -> wasmtime::Result<Option<HeldPart>> {
        let message = self.table.get_mut(message)?;
        demand(message.received, || "message.take: this message is being written, it gives no parts".into())?;
        Ok(message.parts.pop_front())
    }
}

impl From<wit::ValueCoding> for ValueCoding {
    fn from(coding: wit::ValueCoding) -> Self {
        match coding {
            wit::ValueCoding::F32 => Self::F32,
            wit::ValueCoding::F16 => Self::F16,
            wit::ValueCoding::Bf16 => Self::Bf16,
        }
    }
}

/// The typed error for a part that is not what the policy expects.
fn unexpected<T>(expected: &str, found: Option<HeldPart>) -> wasmtime::Result<Result<T, WitError>> {
    let found = found.map_or("the end of the message".into(), |part| part.words());
    Ok(Err(WitError::BadMessage(format!("expected {expected}, found {found}"))))
}

impl HostMessage for State {
    fn put_indices(&mut self, this: Resource<MessageParts>, set: Resource<IndexSet>) -> wasmtime::Result<()> {
        let set = self.table.get(&set)?.clone();
        let bytes = size_of_val(set.indices.as_slice());
        self.put(&this, HeldPart::Indices(set), bytes)
    }

    fn put_values(
        &mut self,
        this: Resource<MessageParts>,
        coding: wit::ValueCoding,
        values: Resource<Vector>,
    ) -> wasmtime::Result<()> {
        let values = self.table.get(&values)?.0.clone();
        let bytes = size_of_val(values.as_slice());
        self.put(&this, HeldPart::Values(coding.into(), values), bytes)
    }

    fn put_codes(&mut self, this: Resource<MessageParts>, codes: Resource<Codes>) -> wasmtime::Result<()> {
        let held = self.table.get(&codes)?.clone();
        let bytes = held.codes.as_slice().len();
        self.put(&this, HeldPart::Codes(held), bytes)
    }

    fn put_bytes(&mut self, this: Resource<MessageParts>, bytes: Vec<u8>) -> wasmtime::Result<()> {
        let len = bytes.len();
        let bytes = ChargedBuffer::make(len, &self.budget, || bytes)?;
        self.put(&this, HeldPart::Bytes(bytes), len)
    }

    fn take_indices(
        &mut self,
        this: Resource<MessageParts>,
        space: u32,
    ) -> wasmtime::Result<Result<Resource<IndexSet>, WitError>> {
        match self.take(&this)? {
            Some(HeldPart::Indices(set)) if set.space == space => match check_indices(space, set.indices.as_slice()) {
                Ok(()) => Ok(Ok(self.push(set)?)),
                Err(reason) => Ok(Err(WitError::BadMessage(reason))),
            },
            found => unexpected(&format!("indices below {space}"), found),
        }
    }

    fn take_values(
        &mut self,
        this: Resource<MessageParts>,
        coding: wit::ValueCoding,
        count: u32,
    ) -> wasmtime::Result<Result<Resource<Vector>, WitError>> {
        let coding = coding.into();
        match self.take(&this)? {
            Some(HeldPart::Values(found, values)) if found == coding && values.as_slice().len() == count as usize => {
                Ok(Ok(self.push(Vector(values))?))
            }
            found => unexpected(&format!("{count} values in {}", coding_name(coding)), found),
        }
    }

    fn take_codes(
        &mut self,
        this: Resource<MessageParts>,
        bits: u8,
        count: u32,
    ) -> wasmtime::Result<Result<Resource<Codes>, WitError>> {
        match self.take(&this)? {
            Some(HeldPart::Codes(held)) if held.bits == bits && held.codes.as_slice().len() == count as usize => {
                match check_codes(bits, held.codes.as_slice()) {
                    Ok(()) => Ok(Ok(self.push(held)?)),
                    Err(reason) => Ok(Err(WitError::BadMessage(reason))),
                }
            }
            found => unexpected(&format!("{count} codes of {bits} bits"), found),
        }
    }

    fn take_bytes(&mut self, this: Resource<MessageParts>) -> wasmtime::Result<Result<Vec<u8>, WitError>> {
        match self.take(&this)? {
            Some(HeldPart::Bytes(bytes)) => Ok(Ok(bytes.into_vec())),
            found => unexpected("bytes", found),
        }
    }

    fn drop(&mut self, this: Resource<MessageParts>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl wit::Host for State {}
