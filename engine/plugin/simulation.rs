//! A simulated exchange between a server and one client that use a policy: rounds as in a run, through frames and
//! with the memories of both.
//!
//! A round is [`Simulation::broadcast`], [`Simulation::receive`], [`Simulation::plan`], [`Simulation::upload`], [`Simulation::collect`]; a policy that
//! serves one direction only is asked for that one. Nothing but the [`SimulationState`] carries over from step to step, so a copy of it
//! takes everything back.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::synthetic::{self, Adapter};
use crate::adapter::Message;
use crate::policy::{CompressorInstance, Content, Context, Direction, Entries, Memory, Policy, PolicyError};
use crate::wire::{BROADCAST, Frame, FrameKind, Header, Limits, UploadHeader};

/// The client of all trials.
const CLIENT: u32 = 3;

/// A failed step of a simulation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StepFailure {
    pub reason: String,
    /// True where the policy answered with a typed error and can still be used; false where it broke down, or where
    /// its result cannot be used.
    pub typed: bool,
}

impl StepFailure {
    fn broken(reason: String) -> Self {
        Self { reason, typed: false }
    }
}

impl From<PolicyError> for StepFailure {
    fn from(error: PolicyError) -> Self {
        Self { typed: is_typed(&error), reason: error.to_string() }
    }
}

impl From<StepFailure> for String {
    fn from(fault: StepFailure) -> Self {
        fault.reason
    }
}

/// True for an error that leaves the instance usable.
pub(super) fn is_typed(error: &PolicyError) -> bool {
    matches!(
        error,
        PolicyError::Option { .. }
            | PolicyError::Bits { .. }
            | PolicyError::Rejected { .. }
            | PolicyError::NoUpdates { .. }
            | PolicyError::LeftOver { .. }
            | PolicyError::WrongLength { .. }
            | PolicyError::WrongSpace { .. }
    )
}

/// Settings of a simulation.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SimulationSetup {
    /// Bits of a value on the way down; none where the policy does not serve it.
    pub down: Option<u32>,
    /// The same on the way up.
    pub up: Option<u32>,
    pub density: f64,
    /// Content of a broadcast: weights, or their difference to the client's reference.
    pub content: Content,
    /// The policy's own options; the rest has its defaults.
    pub options: Map<String, Value>,
}

/// The state of server and client; all that carries over from step to step.
#[derive(Clone)]
pub(super) struct SimulationState {
    pub server: Arc<Entries>,
    pub client: Arc<Entries>,
    pub weights: Arc<Vec<f32>>,
    /// The client's copy of the weights, where broadcasts hold differences.
    pub reference: Arc<Vec<f32>>,
    /// Rounds begun.
    pub round: u32,
    last_seen: Option<u32>,
}

/// An instance for each direction and end.
struct Coders {
    encoder: CompressorInstance,
    decoder: CompressorInstance,
}

/// A server and a client with one policy.
pub(super) struct Simulation<'a> {
    pub adapter: &'a Adapter,
    pub state: SimulationState,
    pub seed: u64,
    policy: Arc<Policy>,
    setup: SimulationSetup,
    down: Option<Coders>,
    up: Option<Coders>,
    /// Coordinates of the client's last plan; none means all.
    planned: Option<Vec<u32>>,
}

/// The frames of one round and the values decoded from them, as bytes.
pub(super) type Trace = Vec<Vec<u8>>;

impl<'a> Simulation<'a> {
    /// Fresh instances that remember nothing, before the first round.
    pub fn new(policy: &Arc<Policy>, adapter: &'a Adapter, setup: &SimulationSetup) -> Result<Self, PolicyError> {
        let coders = |direction: Direction, bits: Option<u32>| {
            let Some(bits) = bits else { return Ok(None) };
            let fresh = || instance(policy, adapter, (direction, bits), &setup.options);
            Ok::<_, PolicyError>(Some(Coders { encoder: fresh()?, decoder: fresh()? }))
        };
        let (down, up) = (coders(Direction::Download, setup.down)?, coders(Direction::Upload, setup.up)?);
        let start = adapter.start.clone();
        let (server, client) = (Arc::default(), Arc::default());
        let state =
            SimulationState { server, client, weights: start.clone(), reference: start, round: 0, last_seen: None };
        Ok(Self { adapter, state, seed: 1, policy: policy.clone(), setup: setup.clone(), down, up, planned: None })
    }

    /// True where an instance broke down.
    pub fn poisoned(&self) -> bool {
        [&self.down, &self.up]
            .into_iter()
            .flatten()
            .any(|coders| coders.encoder.poisoned() || coders.decoder.poisoned())
    }

    /// The context of this round's calls in one direction.
    pub fn context(&self, direction: Direction) -> Context {
        let upload = direction == Direction::Upload;
        let content = if upload { Content::Delta } else { self.setup.content };
        let mut context = synthetic::context(content, self.setup.density);
        (context.round, context.seed) = (self.state.round, self.seed);
        if upload {
            (context.client, context.last_seen) = (Some(CLIENT), self.state.last_seen);
        }
        context
    }

    /// The values of this round's broadcast.
    pub fn outgoing(&self) -> Arc<Vec<f32>> {
        if self.setup.content == Content::Weights {
            return self.state.weights.clone();
        }
        let apart = self.state.weights.iter().zip(self.state.reference.iter()).map(|(weights, had)| weights - had);
        Arc::new(apart.collect())
    }

    /// The server begins a round and encodes these values (see [`Simulation::outgoing`]); none where the policy does not serve
    /// downloads.
    pub fn broadcast(&mut self, values: &Arc<Vec<f32>>) -> Result<Option<Message>, StepFailure> {
        let (context, mut memory) = (self.context(Direction::Download), Memory::new(self.state.server.clone()));
        let Some(coders) = &mut self.down else { return Ok(None) };
        let message = coders.encoder.encode(&context, values.clone(), self.adapter.start.clone(), &mut memory)?;
        keep_written(&memory, &mut self.state.server);
        Ok(Some(message))
    }

    /// The client decodes: what it starts from.
    pub fn receive(&mut self, message: Option<Message>) -> Result<Arc<Vec<f32>>, StepFailure> {
        let (context, mut memory) = (self.context(Direction::Download), Memory::new(self.state.client.clone()));
        let (Some(coders), Some(message)) = (&mut self.down, message) else { return Ok(self.state.weights.clone()) };
        let decoded = coders.decoder.decode(&context, message, self.adapter.start.clone(), &mut memory)?;
        let decoded = finite(decoded)?;
        keep_written(&memory, &mut self.state.client);
        if self.setup.content == Content::Weights {
            return Ok(decoded);
        }
        let sum = self.state.reference.iter().zip(decoded.iter()).map(|(had, difference)| had + difference);
        self.state.reference = Arc::new(sum.collect());
        Ok(self.state.reference.clone())
    }

    /// The coordinates that the client may train; none means all.
    pub fn plan(&mut self, received: &Arc<Vec<f32>>) -> Result<Option<Vec<u32>>, StepFailure> {
        let (context, mut memory) = (self.context(Direction::Upload), Memory::new(self.state.client.clone()));
        let Some(coders) = &mut self.up else { return Ok(None) };
        let plan = coders.encoder.plan(&context, received.clone(), self.adapter.start.clone(), &mut memory)?;
        keep_written(&memory, &mut self.state.client);
        Ok(plan)
    }

    /// The client encodes its delta; none where the policy does not serve uploads.
    pub fn upload(&mut self, delta: &Arc<Vec<f32>>) -> Result<Option<Message>, StepFailure> {
        let (context, mut memory) = (self.context(Direction::Upload), Memory::new(self.state.client.clone()));
        let Some(coders) = &mut self.up else { return Ok(None) };
        let message = coders.encoder.encode(&context, delta.clone(), self.adapter.start.clone(), &mut memory)?;
        keep_written(&memory, &mut self.state.client);
        Ok(Some(message))
    }

    /// The server decodes.
    pub fn collect(&mut self, message: Option<Message>, sent: &Arc<Vec<f32>>) -> Result<Arc<Vec<f32>>, StepFailure> {
        let (context, mut memory) = (self.context(Direction::Upload), Memory::new(self.state.server.clone()));
        let (Some(coders), Some(message)) = (&mut self.up, message) else { return Ok(sent.clone()) };
        let decoded = coders.decoder.decode(&context, message, self.adapter.start.clone(), &mut memory)?;
        keep_written(&memory, &mut self.state.server);
        finite(decoded)
    }

    /// News of the upload's end, at the client.
    pub fn acknowledge(&mut self, accepted: bool) -> Result<(), StepFailure> {
        let (context, mut memory) = (self.context(Direction::Upload), Memory::new(self.state.client.clone()));
        let Some(coders) = &mut self.up else { return Ok(()) };
        coders.encoder.on_ack(&context, accepted, &mut memory)?;
        keep_written(&memory, &mut self.state.client);
        Ok(())
    }

    /// Brings a client up to date that has missed rounds: encoded by the server, decoded by the client. The length of
    /// its frame in bytes; none where the policy sends none. Called between `broadcast` and `receive`.
    pub fn catch_up(&mut self) -> Result<Option<usize>, StepFailure> {
        let mut context = self.context(Direction::Download);
        (context.client, context.last_seen) = (Some(CLIENT), self.state.last_seen);
        let mut memory = Memory::new(self.state.server.clone());
        let Some(coders) = &mut self.down else { return Ok(None) };
        let message = coders.encoder.encode_catch_up(&context, &mut memory)?;
        keep_written(&memory, &mut self.state.server);
        let Some(message) = message else { return Ok(None) };
        let (frame, message) = self.through_wire(&context, &message)?;
        let mut memory = Memory::new(self.state.client.clone());
        if let Some(coders) = &mut self.down {
            coders.decoder.decode_catch_up(&context, message, &mut memory)?;
        }
        keep_written(&memory, &mut self.state.client);
        Ok(Some(frame.len()))
    }

    /// A whole round with a client; `noise` seeds what its training does.
    pub fn round(&mut self, noise: u64) -> Result<Trace, StepFailure> {
        self.state.round += 1;
        let mut trace = Vec::new();
        let (outgoing, down) = (self.outgoing(), self.context(Direction::Download));
        let message = self.broadcast(&outgoing)?;
        let message = self.through_wire_traced(&down, message, &mut trace)?;
        let received = self.receive(message)?;
        trace.push(bytes(&received));
        let delta = self.train(&received, noise)?;
        let up = self.context(Direction::Upload);
        let message = self.upload(&delta)?;
        let message = self.through_wire_traced(&up, message, &mut trace)?;
        let arrived = self.collect(message, &delta)?;
        trace.push(bytes(&arrived));
        self.acknowledge(true)?;
        self.step(&arrived);
        Ok(trace)
    }

    /// A round in which this client has no part: the server's weights move by what a newcomer does, who remembers nothing
    /// and is sent what it needs.
    pub fn round_without_client(&mut self, noise: u64) -> Result<(), StepFailure> {
        let own = (std::mem::take(&mut self.state.client), self.state.last_seen.take(), self.planned.take());
        let reference = self.state.reference.clone();
        self.state.round += 1;
        let outgoing = self.outgoing();
        let message = self.broadcast(&outgoing)?;
        self.catch_up()?;
        let received = self.receive(message)?;
        let delta = self.train(&received, noise)?;
        let message = self.upload(&delta)?;
        let arrived = self.collect(message, &delta)?;
        self.step(&arrived);
        (self.state.client, self.state.last_seen, self.planned) = own;
        self.state.reference = reference;
        Ok(())
    }

    /// A made-up delta of local training on the planned coordinates; `noise` seeds it.
    pub fn train(&mut self, received: &Arc<Vec<f32>>, noise: u64) -> Result<Arc<Vec<f32>>, StepFailure> {
        self.planned = self.plan(received)?;
        Ok(synthetic::masked_delta(self.adapter, noise, self.planned.as_deref()))
    }

    /// The update becomes part of the weights.
    pub fn step(&mut self, update: &[f32]) {
        let weights = self.state.weights.iter().zip(update).map(|(weights, update)| weights + update);
        self.state.weights = Arc::new(weights.collect());
        self.state.last_seen = Some(self.state.round);
    }

    /// A message as bytes, and as its receiver has it.
    pub fn through_wire(&self, context: &Context, message: &Message) -> Result<(Vec<u8>, Message), StepFailure> {
        let header = Header {
            kind: match context.direction {
                Direction::Download => FrameKind::Download,
                Direction::Upload => FrameKind::Upload,
            },
            layout: self.adapter.layout.hash().short(),
            policy: self.policy.hash.short(),
            round: context.round,
            client: context.client.unwrap_or(BROADCAST),
            sequence: 0,
            upload: UploadHeader::default(),
        };
        let frame = Frame::encode(&header, message);
        let bytes =
            frame.map_err(|error| StepFailure::broken(format!("its message cannot travel: {error}")))?.to_bytes();
        let limits = Limits::for_values(self.adapter.values());
        match Frame::read(bytes.clone()).and_then(|frame| frame.decode(&limits)) {
            Ok(message) => Ok((bytes, message)),
            Err(error) => Err(StepFailure::broken(format!("its message is refused as a frame: {error}"))),
        }
    }

    fn through_wire_traced(
        &self,
        context: &Context,
        message: Option<Message>,
        trace: &mut Trace,
    ) -> Result<Option<Message>, StepFailure> {
        let Some(message) = message else { return Ok(None) };
        let (frame, message) = self.through_wire(context, &message)?;
        trace.push(frame);
        Ok(Some(message))
    }
}

/// A fresh instance for one direction and number of bits.
pub(super) fn instance(
    policy: &Arc<Policy>,
    adapter: &Adapter,
    (direction, bits): (Direction, u32),
    options: &Map<String, Value>,
) -> Result<CompressorInstance, PolicyError> {
    let mut all = options.clone();
    all.insert("direction".into(), direction.name().into());
    all.insert("bits".into(), bits.into());
    policy.compressor(&adapter.layout, &Value::Object(all).to_string())
}

fn keep_written(memory: &Memory, entries: &mut Arc<Entries>) {
    memory.written().apply(Arc::make_mut(entries));
}

fn finite(values: Arc<Vec<f32>>) -> Result<Arc<Vec<f32>>, StepFailure> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(at) => Err(StepFailure::broken(format!("value {at} of {} was decoded as {}", values.len(), values[at]))),
        None => Ok(values),
    }
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}
