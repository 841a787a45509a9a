//! One message from its sender to its receiver, through bytes, with the memories of both.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::adapter::Message;
use crate::plugin::samples::Adapter;
use crate::policy::{CompressorInstance, Content, Context, Direction, Entries, Memory, Policy, PolicyError};
use crate::wire::{self, BROADCAST, FrameKind, Header, Limits, Said};

/// A direction and a number of bits that a policy takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Setting {
    pub direction: Direction,
    pub bits: u32,
}

impl Setting {
    /// What messages of the direction can hold.
    pub fn contents(self) -> &'static [Content] {
        match self.direction {
            Direction::Download => &[Content::Weights, Content::Difference],
            Direction::Upload => &[Content::Delta],
        }
    }
}

/// A fresh instance with these options; the rest has its defaults.
pub(super) fn instance(
    policy: &Arc<Policy>,
    adapter: &Adapter,
    setting: Setting,
    options: &Map<String, Value>,
) -> Result<CompressorInstance, PolicyError> {
    let mut all = options.clone();
    all.insert("direction".into(), setting.direction.name().into());
    all.insert("bits".into(), setting.bits.into());
    policy.compressor(&adapter.layout, &Value::Object(all).to_string())
}

/// Both ends of a direction, and what each remembers.
pub(super) struct Ends<'a> {
    pub adapter: &'a Adapter,
    pub encoder: CompressorInstance,
    pub decoder: CompressorInstance,
    pub sender: Arc<Entries>,
    pub receiver: Arc<Entries>,
}

/// What was sent and what arrived; the message as the receiver got it, its values rounded by their coding.
pub(super) struct Exchanged {
    pub message: Message,
    pub frame: Vec<u8>,
    pub decoded: Vec<f32>,
}

impl<'a> Ends<'a> {
    /// Two fresh instances that remember nothing.
    pub fn new(
        policy: &Arc<Policy>,
        adapter: &'a Adapter,
        setting: Setting,
        options: &Map<String, Value>,
    ) -> Result<Self, String> {
        let fresh = || instance(policy, adapter, setting, options).map_err(|error| error.to_string());
        let (encoder, decoder) = (fresh()?, fresh()?);
        Ok(Self { adapter, encoder, decoder, sender: Arc::default(), receiver: Arc::default() })
    }

    /// Encodes without keeping what the hook remembers.
    pub fn encode(&mut self, context: &Context, values: &Arc<Vec<f32>>) -> Result<(Message, Memory), PolicyError> {
        let mut memory = Memory::new(self.sender.clone());
        let message = self.encoder.encode(context, values.clone(), self.adapter.start.clone(), &mut memory)?;
        Ok((message, memory))
    }

    /// Decodes without keeping what the hook remembers.
    pub fn decode(&mut self, context: &Context, message: Message) -> Result<(Vec<f32>, Memory), PolicyError> {
        let mut memory = Memory::new(self.receiver.clone());
        let decoded = self.decoder.decode(context, message, self.adapter.start.clone(), &mut memory)?;
        Ok((decoded, memory))
    }

    /// A message from end to end, as bytes between; both ends keep what their hooks remember.
    pub fn exchange(&mut self, context: &Context, values: &Arc<Vec<f32>>) -> Result<Exchanged, String> {
        let (message, sent) = self.encode(context, values).map_err(|error| error.to_string())?;
        let frame = self.frame(context, &message)?;
        let limits = Limits::for_values(self.adapter.values());
        let (_, received) =
            wire::decode(&frame, &limits).map_err(|error| format!("its message is no frame: {error}"))?;
        let (decoded, kept) = self.decode(context, received.clone()).map_err(|error| error.to_string())?;
        for (entries, memory) in [(&mut self.sender, sent), (&mut self.receiver, kept)] {
            memory.written().apply(Arc::make_mut(entries));
        }
        match decoded.iter().position(|value| !value.is_finite()) {
            Some(at) => Err(format!("value {at} of {} was decoded as {}", decoded.len(), decoded[at])),
            None => Ok(Exchanged { message: received, frame, decoded }),
        }
    }

    /// The bytes of a message.
    pub fn frame(&self, context: &Context, message: &Message) -> Result<Vec<u8>, String> {
        let header = Header {
            kind: match context.direction {
                Direction::Download => FrameKind::Download,
                Direction::Upload => FrameKind::Upload,
            },
            layout: self.adapter.layout.hash().short(),
            policy: self.encoder.policy().hash.short(),
            round: context.round,
            client: context.client.unwrap_or(BROADCAST),
            sequence: 0,
            said: Said::default(),
        };
        wire::encode(&header, message).map_err(|error| format!("its message cannot travel: {error}"))
    }
}

/// What an exchange was about, for findings.
pub(super) fn named(adapter: &Adapter, setting: Setting, context: &Context) -> String {
    let values = adapter.values();
    format!("{values} values, {:?}, {} bits, density {}", context.content, setting.bits, context.density).to_lowercase()
}
