//! A codec: one direction's policy instance and the wire. The only way in the product from values to bytes and back.

use std::sync::Arc;
use std::time::Instant;

use crate::adapter::AdapterLayout;
use crate::metrics::{DirectionMetrics, Hook, Metrics};
use crate::policy::{CompressorInstance, Content, Context, Direction, Memory, Policy, PolicyError, PolicyHost, Warm};
use crate::wire::{self, FrameKind, Header, WireError};

use super::Config;

/// Why a frame could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum CompressorError {
    /// The policy failed.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The bytes are not a frame of this run.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A sound frame that does not belong here.
    #[error("the frame's {what} is {found}, expected {expected}")]
    Misplaced {
        /// Which header field.
        what: &'static str,
        /// What the frame says.
        found: String,
        /// What the receiver expects.
        expected: String,
    },
    /// A value that is not finite came out of the policy.
    #[error("policy {policy} decoded {count} values that are not finite")]
    NotFinite {
        /// The policy.
        policy: String,
        /// How many.
        count: usize,
    },
}

/// On which occasion something is encoded or decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Occasion {
    /// The round, from 1.
    pub round: u32,
    /// The client; none for a broadcast.
    pub client: Option<u32>,
    /// The client's training examples; 0 for a broadcast.
    pub examples: u64,
}

/// Everything that is fixed for one direction of a run. Cheap to share; [`CodecPlan::codec`] makes the working part.
pub struct CodecPlan {
    direction: Direction,
    policy: Arc<Policy>,
    layout: Arc<AdapterLayout>,
    start: Arc<Vec<f32>>,
    options: String,
    density: f64,
    limits: wire::Limits,
    rounds: u32,
    seed: u64,
}

impl CodecPlan {
    /// Loads the policy and tries it: a bad option or a wrong world is an error here, before anything runs.
    ///
    /// `start` is `W0`, `layout.values()` long.
    ///
    /// # Errors
    /// What the policy or its host say.
    pub fn new(
        config: &Config,
        direction: Direction,
        host: &PolicyHost,
        layout: Arc<AdapterLayout>,
        start: Arc<Vec<f32>>,
        (rounds, seed): (u32, u64),
    ) -> Result<Self, CompressorError> {
        let policy = host.load(&config.policy)?;
        let limits = wire::Limits::for_values(layout.values());
        let options = options_json(config, direction);
        let density = f64::from(config.density);
        let plan = Self { direction, policy, layout, start, options, density, limits, rounds, seed };
        plan.instance()?;
        Ok(plan)
    }

    /// A codec with an instance of its own.
    pub fn codec(self: &Arc<Self>, metrics: &Arc<Metrics>) -> Codec {
        let timing = match self.direction {
            Direction::Download => metrics.download.clone(),
            Direction::Upload => metrics.upload.clone(),
        };
        let plan = self.clone();
        let warm = Warm::new(metrics.policy(&self.policy.name), move || plan.instance());
        Codec { plan: self.clone(), timing, warm }
    }

    /// The policy that this direction uses.
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// Number of adapter values, `P`.
    pub fn values(&self) -> usize {
        self.layout.values()
    }

    fn instance(&self) -> Result<CompressorInstance, PolicyError> {
        self.policy.compressor(&self.layout, &self.options)
    }

    fn context(&self, occasion: &Occasion) -> Context {
        Context {
            direction: self.direction,
            content: match self.direction {
                Direction::Download => Content::Weights,
                Direction::Upload => Content::Delta,
            },
            round: occasion.round,
            rounds: self.rounds,
            seed: self.seed,
            client: occasion.client,
            tier: 0,
            density: self.density,
            rank: 0,
            byte_budget: None,
            examples: occasion.examples,
            loss: None,
            last_seen: None,
        }
    }

    fn header(&self, occasion: &Occasion) -> Header {
        Header {
            kind: match self.direction {
                Direction::Download => FrameKind::Download,
                Direction::Upload => FrameKind::Upload,
            },
            layout: self.layout.hash().short(),
            policy: self.policy.hash.short(),
            round: occasion.round,
            client: occasion.client.unwrap_or(u32::MAX),
            sequence: 0,
        }
    }
}

/// One direction's encoder and decoder. Synchronous; call it on a blocking thread.
pub struct Codec {
    plan: Arc<CodecPlan>,
    timing: DirectionMetrics,
    warm: Warm<CompressorInstance>,
}

impl Codec {
    /// Encodes a vector of `P` values (weights down, a delta up) into one frame.
    ///
    /// # Errors
    /// What the policy says; after a trap the next call starts with a fresh instance.
    pub fn encode(&mut self, occasion: &Occasion, values: Arc<Vec<f32>>) -> Result<Vec<u8>, CompressorError> {
        let started = Instant::now();
        let context = self.plan.context(occasion);
        let start = self.plan.start.clone();
        let mut memory = Memory::default();
        let encode = |instance: &mut CompressorInstance| instance.encode(&context, values, start, &mut memory);
        let message = self.warm.call(Hook::Encode, encode)?;
        let frame = wire::encode(&self.plan.header(occasion), &message)?;
        self.timing.encode_seconds.observe(started.elapsed().as_secs_f64());
        Ok(frame)
    }

    /// Decodes a frame into a vector of `P` finite values.
    ///
    /// # Errors
    /// A frame that is damaged, of another run, round or client, or that the policy refuses.
    pub fn decode(&mut self, occasion: &Occasion, frame: &[u8]) -> Result<Vec<f32>, CompressorError> {
        let started = Instant::now();
        let (header, message) = wire::decode(frame, &self.plan.limits)?;
        check_header(&header, &self.plan.header(occasion))?;
        let context = self.plan.context(occasion);
        let start = self.plan.start.clone();
        let mut memory = Memory::default();
        let decode = |instance: &mut CompressorInstance| instance.decode(&context, message, start, &mut memory);
        let values = self.warm.call(Hook::Decode, decode)?;
        // Without a branch or a count, so that it vectorizes; the count is for the message alone.
        if values.iter().fold(false, |found, value| found | !value.is_finite()) {
            let count = values.iter().filter(|value| !value.is_finite()).count();
            return Err(CompressorError::NotFinite { policy: self.plan.policy.name.clone(), count });
        }
        self.timing.decode_seconds.observe(started.elapsed().as_secs_f64());
        Ok(values)
    }
}

/// What a policy's `init` gets: the options of the direction, with bits and direction among them.
fn options_json(config: &Config, direction: Direction) -> String {
    let mut options = config.options.clone();
    let defaults =
        [("bits", serde_json::json!(u32::from(config.bits))), ("direction", serde_json::json!(direction.name()))];
    for (key, value) in defaults {
        options.entry(key).or_insert(value);
    }
    serde_json::Value::Object(options).to_string()
}

fn check_header(found: &Header, expected: &Header) -> Result<(), CompressorError> {
    let same = |what, found: String, expected: String| {
        if found == expected { Ok(()) } else { Err(CompressorError::Misplaced { what, found, expected }) }
    };
    same("kind", format!("{:?}", found.kind), format!("{:?}", expected.kind))?;
    same("layout hash", format!("{:016x}", found.layout), format!("{:016x}", expected.layout))?;
    same("policy hash", format!("{:016x}", found.policy), format!("{:016x}", expected.policy))?;
    same("round", found.round.to_string(), expected.round.to_string())?;
    same("client", found.client.to_string(), expected.client.to_string())
}
