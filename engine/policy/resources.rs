//! The host's resources, which a policy has handles of: vectors, index sets, codes and messages. The WIT's functions
//! on each are in the file of its name.

use std::collections::VecDeque;

use super::budget::Budget;
use super::charged_buffer::ChargedBuffer;
use super::error::Refusal;
use crate::adapter::{Message, Part, ValueCoding};

/// A flat vector of f32 that a policy holds by handle.
#[derive(Debug, Clone)]
pub struct Vector(pub(super) ChargedBuffer<f32>);

/// Strictly increasing coordinates below `space`.
#[derive(Debug, Clone)]
pub struct IndexSet {
    pub(super) space: u32,
    pub(super) indices: ChargedBuffer<u32>,
}

/// Codes of 1 to 8 bits each.
#[derive(Debug, Clone)]
pub struct Codes {
    pub(super) bits: u8,
    pub(super) codes: ChargedBuffer<u8>,
}

/// A message while a policy works on it: one that it writes takes parts, one that it reads gives them.
#[derive(Debug, Default)]
pub struct MessageParts {
    pub(super) parts: VecDeque<HeldPart>,
    /// Bytes of the parts that were put.
    pub(super) bytes: u64,
    pub(super) received: bool,
}

/// A part that the host holds.
#[derive(Debug)]
pub(super) enum HeldPart {
    Indices(IndexSet),
    Values(ValueCoding, ChargedBuffer<f32>),
    Codes(Codes),
    Bytes(ChargedBuffer<u8>),
}

impl HeldPart {
    /// It in few words.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Indices(set) => format!("{} indices below {}", set.indices.as_slice().len(), set.space),
            Self::Values(coding, values) => format!("{} values in {}", values.as_slice().len(), coding_name(*coding)),
            Self::Codes(held) => format!("{} codes of {} bits", held.codes.as_slice().len(), held.bits),
            Self::Bytes(bytes) => format!("{} bytes", bytes.as_slice().len()),
        }
    }
}

/// The word for a coding.
pub(super) fn coding_name(coding: ValueCoding) -> &'static str {
    match coding {
        ValueCoding::F32 => "f32",
        ValueCoding::F16 => "f16",
        ValueCoding::Bf16 => "bf16",
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
            Part::Values { coding, values } => Ok(HeldPart::Values(coding, ChargedBuffer::lend(values, budget)?)),
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
            HeldPart::Values(coding, values) => Part::Values { coding, values: values.share() },
            HeldPart::Codes(held) => Part::Codes { bits: held.bits, codes: held.codes.into_vec() },
            HeldPart::Bytes(bytes) => Part::Bytes(bytes.into_vec()),
        };
        Message { parts: self.parts.into_iter().map(part).collect() }
    }
}

/// Says what is wrong with coordinates that are not strictly increasing and below `space`.
pub(super) fn check_indices(space: u32, indices: &[u32]) -> Result<(), String> {
    if let Some(pair) = indices.windows(2).find(|pair| pair[0] >= pair[1]) {
        return Err(format!("index {} follows {}, indices must increase", pair[1], pair[0]));
    }
    match indices.last() {
        Some(last) if *last >= space => Err(format!("index {last} is outside the space of {space}")),
        _ => Ok(()),
    }
}

/// Says what is wrong with codes that need more than their bits, or with the bits.
pub(super) fn check_codes(bits: u8, codes: &[u8]) -> Result<(), String> {
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
