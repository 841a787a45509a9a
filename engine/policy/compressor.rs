//! A policy instance that encodes and decodes one direction's messages.

use std::sync::Arc;

use rand_core::Rng;
use wasmtime::component::Resource;

use super::PolicyError;
use super::bindings::cellm::policy::types::{self as wit, OptionKind, OptionValue};
use super::bindings::exports::cellm::policy::compressing::{Guest, Settings};
use super::buffer::Buffer;
use super::component::Policy;
use super::instance::Instance;
use super::message::MessageParts;
use super::options::Given;
use super::state::State;
use super::vector::Vector;
use crate::adapter::{AdapterLayout, Message};
use crate::random::{self, Purpose};

/// Settings that every compressor has, beside its own options.
const SETTINGS: [&str; 3] = ["direction", "density", "bits"];

/// Which way a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Server to client: weights.
    Download,
    /// Client to server: a delta.
    Upload,
}

impl Direction {
    /// `download` or `upload`, as in the config.
    pub fn name(self) -> &'static str {
        match self {
            Self::Download => "download",
            Self::Upload => "upload",
        }
    }
}

/// What one call is about. Encoder and decoder of a message must be given the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// Which way the message goes.
    pub direction: Direction,
    /// Number of the round; the first is 1.
    pub round: u32,
    /// How many rounds the run has.
    pub rounds: u32,
    /// The run's seed. The policy sees a seed for this message alone that is drawn from it.
    pub seed: u64,
    /// The client; none for a message to all.
    pub client: Option<u32>,
    /// Training examples behind an upload; 0 for a download.
    pub examples: u64,
}

impl Context {
    fn for_policy(&self) -> wit::Context {
        let (direction, purpose) = match self.direction {
            Direction::Download => (wit::Direction::Download, Purpose::PolicyDownload),
            Direction::Upload => (wit::Direction::Upload, Purpose::PolicyUpload),
        };
        let seed = random::stream(self.seed, purpose, self.round, self.client.unwrap_or(u32::MAX)).next_u64();
        let (round, rounds, client, examples) = (self.round, self.rounds, self.client, self.examples);
        wit::Context { direction, round, rounds, seed, client, examples }
    }
}

/// A warm compressor. Not shared: each owner has its own.
pub struct CompressorInstance {
    policy: Arc<Policy>,
    values: usize,
    instance: Instance,
    guest: Guest,
}

impl CompressorInstance {
    pub(super) fn new(policy: &Arc<Policy>, layout: &AdapterLayout, options_json: &str) -> Result<Self, PolicyError> {
        let indices = policy.compressing.as_ref().ok_or_else(|| policy.wrong_world("compressor"))?;
        let mut given = Given::parse(&policy.name, options_json)?;
        let settings = settings(&mut given)?;
        let options = given.declared(&policy.declared, &SETTINGS)?;
        let wit_layout = policy.layout(layout)?;
        let mut instance = Instance::new(policy, layout.values())?;
        let guest = instance.bind(|store, instance| indices.load(store, instance))?;
        instance.call("init", |store| guest.call_init(store, &wit_layout, settings, &options))?;
        Ok(Self { policy: policy.clone(), values: layout.values(), instance, guest })
    }

    /// Encodes `values` (weights for a download, a delta for an upload) for the receiver. `start` is `W0`.
    /// Values that the caller gives up (the only `Arc`) reach the message without a copy where the policy sends all.
    pub fn encode(
        &mut self,
        context: &Context,
        values: Arc<Vec<f32>>,
        start: Arc<Vec<f32>>,
    ) -> Result<Message, PolicyError> {
        self.check_length("encode", values.len())?;
        self.check_length("encode", start.len())?;
        let guest = &self.guest;
        let parts = self.instance.call("encode", |store| {
            let (values, start) = (lend(store.data_mut(), values)?, lend(store.data_mut(), start)?);
            let message = store.data_mut().push(MessageParts::default())?;
            let (lent_values, lent_start) = (Resource::new_borrow(values.rep()), Resource::new_borrow(start.rep()));
            let into = Resource::new_borrow(message.rep());
            let done = guest.call_encode(&mut *store, context.for_policy(), lent_values, lent_start, into)?;
            let table = &mut store.data_mut().table;
            table.delete(values)?;
            table.delete(start)?;
            let parts = table.delete(message)?;
            Ok(done.map(|()| parts))
        })?;
        Ok(parts.finished())
    }

    /// What the receiver makes of a message: a vector of all values of the layout.
    pub fn decode(
        &mut self,
        context: &Context,
        message: Message,
        start: Arc<Vec<f32>>,
    ) -> Result<Vec<f32>, PolicyError> {
        self.check_length("decode", start.len())?;
        let found = message.parts.len();
        let guest = &self.guest;
        let (decoded, left) = self.instance.call("decode", |store| {
            let start = lend(store.data_mut(), start)?;
            let received = MessageParts::received(message, &store.data().budget)?;
            let message = store.data_mut().push(received)?;
            let (lent_start, from) = (Resource::new_borrow(start.rep()), Resource::new_borrow(message.rep()));
            let done = guest.call_decode(&mut *store, context.for_policy(), from, lent_start)?;
            let table = &mut store.data_mut().table;
            table.delete(start)?;
            let left = table.delete(message)?.left();
            Ok(done.map(|decoded| (decoded, left)))
        })?;
        let decoded = self.instance.take_vector("decode", decoded, self.values)?;
        if left > 0 {
            let policy = self.policy.name.clone();
            return Err(PolicyError::LeftOver { policy, found, taken: found - left });
        }
        Ok(decoded)
    }

    /// Whether a call broke it; then the owner makes a new one.
    pub fn poisoned(&self) -> bool {
        self.instance.poisoned()
    }

    /// The policy that it runs.
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    fn check_length(&self, hook: &'static str, found: usize) -> Result<(), PolicyError> {
        if found == self.values {
            return Ok(());
        }
        Err(PolicyError::GivenLength { policy: self.policy.name.clone(), hook, found, expected: self.values })
    }
}

pub(super) fn lend(state: &mut State, values: Arc<Vec<f32>>) -> wasmtime::Result<Resource<Vector>> {
    let buffer = Buffer::lend(values, &state.budget)?;
    state.push(Vector(buffer))
}

fn settings(given: &mut Given<'_>) -> Result<Settings, PolicyError> {
    let words = OptionKind::Choice(["download", "upload"].map(String::from).into());
    let direction = match given.setting("direction", words, OptionValue::Text("upload".into()))? {
        OptionValue::Text(word) if word == "download" => wit::Direction::Download,
        _ => wit::Direction::Upload,
    };
    let density = match given.setting("density", OptionKind::Share, OptionValue::Number(1.0))? {
        OptionValue::Number(density) => density,
        _ => 1.0,
    };
    let bits = match given.setting("bits", OptionKind::Count, OptionValue::Integer(32))? {
        OptionValue::Integer(bits) => u32::try_from(bits).unwrap_or(u32::MAX),
        _ => 32,
    };
    Ok(Settings { direction, density, bits })
}
