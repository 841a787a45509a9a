//! The WIT resource `message`: parts that an encoder puts and a decoder takes, in order.

use std::collections::VecDeque;

use wasmtime::component::Resource;

use super::bindings::cellm::policy::host::HostMessage;
use super::bindings::cellm::policy::types::{self as wit, PolicyError as WitError};
use super::budget::Budget;
use super::charged_buffer::ChargedBuffer;
use super::codes::{self, Codes};
use super::error::Refusal;
use super::index_set::{self, IndexSet};
use super::state::{State, demand};
use super::vector::Vector;
use crate::adapter::{Message, Part, ValueCoding};

/// A message while a policy works on it: one that it writes takes parts, one that it reads gives them.
#[derive(Debug, Default)]
pub struct MessageParts {
    parts: VecDeque<HeldPart>,
    bytes: u64,
    received: bool,
}

#[derive(Debug)]
enum HeldPart {
    Indices(IndexSet),
    Values(wit::ValueCoding, ChargedBuffer<f32>),
    Codes(Codes),
    Bytes(ChargedBuffer<u8>),
}

impl HeldPart {
    fn words(&self) -> String {
        match self {
            Self::Indices(set) => format!("{} indices below {}", set.indices.as_slice().len(), set.space),
            Self::Values(coding, values) => format!("{} values in {}", values.as_slice().len(), name(*coding)),
            Self::Codes(held) => format!("{} codes of {} bits", held.codes.as_slice().len(), held.bits),
            Self::Bytes(bytes) => format!("{} bytes", bytes.as_slice().len()),
        }
    }
}

fn name(coding: wit::ValueCoding) -> &'static str {
    match coding {
        wit::ValueCoding::F32 => "f32",
        wit::ValueCoding::F16 => "f16",
        wit::ValueCoding::Bf16 => "bf16",
    }
}

impl MessageParts {
    /// Takes a message over from the wire, charging it to the policy.
    pub(super) fn received(message: Message, budget: &Budget) -> Result<Self, Refusal> {
        let hold = |part| match part {
            Part::Indices { space, indices } => {
                let indices = ChargedBuffer::make(indices.len(), budget, || indices)?;
                Ok(HeldPart::Indices(IndexSet { space, indices }))
            }
            Part::Values { coding, values } => {
                let coding = match coding {
                    ValueCoding::F32 => wit::ValueCoding::F32,
                    ValueCoding::F16 => wit::ValueCoding::F16,
                    ValueCoding::Bf16 => wit::ValueCoding::Bf16,
                };
                Ok(HeldPart::Values(coding, ChargedBuffer::make(values.len(), budget, || values)?))
            }
            Part::Codes { bits, codes } => {
                Ok(HeldPart::Codes(Codes { bits, codes: ChargedBuffer::make(codes.len(), budget, || codes)? }))
            }
            Part::Bytes(bytes) => Ok(HeldPart::Bytes(ChargedBuffer::make(bytes.len(), budget, || bytes)?)),
        };
        let parts = message.parts.into_iter().map(hold).collect::<Result<_, Refusal>>()?;
        Ok(Self { parts, bytes: 0, received: true })
    }

    /// Parts not taken yet.
    pub(super) fn left(&self) -> usize {
        self.parts.len()
    }

    /// The message as it goes to the wire.
    pub(super) fn finished(self) -> Message {
        let part = |held| match held {
            HeldPart::Indices(set) => Part::Indices { space: set.space, indices: set.indices.into_vec() },
            HeldPart::Values(coding, values) => {
                let coding = match coding {
                    wit::ValueCoding::F32 => ValueCoding::F32,
                    wit::ValueCoding::F16 => ValueCoding::F16,
                    wit::ValueCoding::Bf16 => ValueCoding::Bf16,
                };
                Part::Values { coding, values: values.into_vec() }
            }
            HeldPart::Codes(held) => Part::Codes { bits: held.bits, codes: held.codes.into_vec() },
            HeldPart::Bytes(bytes) => Part::Bytes(bytes.into_vec()),
        };
        Message { parts: self.parts.into_iter().map(part).collect() }
    }
}

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
        self.put(&this, HeldPart::Values(coding, values), bytes)
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
            Some(HeldPart::Indices(set)) if set.space == space => {
                match index_set::check(space, set.indices.as_slice()) {
                    Ok(()) => Ok(Ok(self.push(set)?)),
                    Err(reason) => Ok(Err(WitError::BadMessage(reason))),
                }
            }
            found => unexpected(&format!("indices below {space}"), found),
        }
    }

    fn take_values(
        &mut self,
        this: Resource<MessageParts>,
        coding: wit::ValueCoding,
        count: u32,
    ) -> wasmtime::Result<Result<Resource<Vector>, WitError>> {
        match self.take(&this)? {
            Some(HeldPart::Values(found, values)) if found == coding && values.as_slice().len() == count as usize => {
                Ok(Ok(self.push(Vector(values))?))
            }
            found => unexpected(&format!("{count} values in {}", name(coding)), found),
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
                match codes::check(bits, held.codes.as_slice()) {
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
