//! The hooks of a policy: one trait for each exported interface of `wit/policy.wit`, and the records that only hooks use.

use crate::{Context, Description, Direction, IndexSet, Layout, Message, Options, PolicyError, Vector};

/// The run's settings of the direction, whatever the policy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Direction of the messages.
    pub direction: Direction,
    /// Bits of a value on the wire: 1, 2, 3, 4, 8, 16 or 32. A policy refuses what it cannot do.
    pub bits: u32,
}

/// The limits of local training.
#[derive(Debug)]
pub struct TrainingPlan {
    /// Coordinates that training may change; the rest keeps its value. None trains all.
    pub trainable: Option<IndexSet>,
}

/// The end of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is part of the aggregate.
    Accepted,
    /// The server refused it; what the client's hooks wrote in the round is forgotten.
    Rejected,
}

/// The facts of a round, for an aggregator.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RoundInfo {
    /// Number of the round; the first is 1.
    pub round: u32,
    /// Number of rounds of the run.
    pub rounds: u32,
    /// A seed for this round alone.
    pub seed: u64,
    /// Clients that were sampled; fewer may answer.
    pub cohort: u32,
}

/// The facts of an update.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UpdateInfo {
    /// The client's number.
    pub client: u32,
    /// Training examples behind it.
    pub examples: u64,
    /// Mean local training loss, nats a token; none where it is not known.
    pub loss: Option<f64>,
    /// L2 norm of the decoded update.
    pub norm: f64,
    /// The client's tier, 0 where the run has none.
    pub tier: u32,
    /// Rank that the tier trains; 0 is the whole rank.
    pub rank: u32,
}

/// Every policy describes itself.
pub trait Policy: Sized + 'static {
    /// Name, version, capabilities and options.
    fn describe() -> Description;
}

/// Turns vectors into messages and back, for one direction of one run. What a later call is to know goes into the memory
/// ([`crate::save`]): each call may meet a fresh instance.
pub trait Compressor: Policy {
    /// Called once, first. The options are checked and complete.
    fn new(layout: Layout, settings: Settings, options: &Options) -> Result<Self, PolicyError>;
    /// Puts into the message what the receiver needs. `start` is the seeded start `W0`, which every participant has.
    fn encode(&mut self, context: &Context, values: &Vector, start: &Vector, into: &Message)
    -> Result<(), PolicyError>;
    /// The receiver's values: a vector of `layout.values`. Takes every part of the message.
    fn decode(&mut self, context: &Context, message: &Message, start: &Vector) -> Result<Vector, PolicyError>;
}

/// Optional: what a client trains. Called at the client, between decoding and training, on the policy of the upload.
pub trait Planning: Compressor {
    /// `received` is what the client starts from.
    fn plan(&mut self, context: &Context, received: &Vector, start: &Vector) -> Result<TrainingPlan, PolicyError>;
}

/// Optional: news of an upload's end, at the client that sent it.
pub trait Acknowledging: Compressor {
    /// Sees the memory as the round leaves it.
    fn on_ack(&mut self, context: &Context, outcome: Outcome);
}

/// Optional, for the policy of the download: what one client needs that others do not, as it has missed rounds
/// (`context.last_seen`) or is sent things of its own. Asked for every client of every round but the first.
pub trait CatchingUp: Compressor {
    /// At the server. False: this client needs nothing, and nothing is sent.
    fn encode_catch_up(&mut self, context: &Context, into: &Message) -> Result<bool, PolicyError>;
    /// At the client: takes what it needs into its memory.
    fn decode_catch_up(&mut self, context: &Context, message: &Message) -> Result<(), PolicyError>;
}

/// Makes one delta of many: `begin`, `accept` once for each update in cohort order, `finish`; again for the next round.
pub trait Aggregator: Policy {
    /// Called once, first. The options are checked and complete.
    fn new(layout: Layout, options: &Options) -> Result<Self, PolicyError>;
    /// Forgets the round before, finished or not. `base` is what the clients start from.
    fn begin(&mut self, round: &RoundInfo, base: &Vector) -> Result<(), PolicyError>;
    /// Takes one update. It may be written to; to hold it, copy it. An error refuses this update alone, so it must leave
    /// what was taken before as it was.
    fn accept(&mut self, update: &Vector, info: &UpdateInfo) -> Result<(), PolicyError>;
    /// The aggregated delta, a vector of `layout.values`; [`PolicyError::NoUpdates`] without a single update.
    fn finish(&mut self) -> Result<Vector, PolicyError>;
}

/// Optional: takes the server's step in place of the server optimizer.
pub trait Stepping: Aggregator {
    /// `weights` is the server's dense copy, `aggregate` what `finish` gave; the result is the new dense copy.
    fn step(&mut self, round: u32, weights: &Vector, aggregate: &Vector) -> Result<Vector, PolicyError>;
}
