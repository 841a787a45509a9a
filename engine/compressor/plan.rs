//! A codec's plan: everything that is fixed for one direction of a run, checked before anything starts.

use std::sync::Arc;

use super::feedback::ErrorFeedback;
use super::{CompressorError, Config};
use crate::adapter::{AdapterLayout, Message, Part};
use crate::policy::{CompressorInstance, Content, Context, Direction, Policy, PolicyError, PolicyHost};
use crate::roster::Tiers;
use crate::wire::{self, BROADCAST, Frame, FrameKind, Header, UploadHeader, WireError};

/// On which occasion something is encoded or decoded. Encoder and decoder of a message are given the same.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Occasion {
    /// The round, from 1.
    pub round: u32,
    /// The client; none for a broadcast.
    pub client: Option<u32>,
    /// The client's tier, or the tier that a broadcast is for.
    pub tier: u32,
    /// The last round whose update of this client was accepted.
    pub last_seen: Option<u32>,
    /// The client's header of its upload; an upload's decoder finds it in the frame.
    pub upload: UploadHeader,
}

impl Occasion {
    /// The occasion of a broadcast to everyone of a tier.
    pub fn broadcast(round: u32, tier: u32) -> Self {
        Self { round, client: None, tier, last_seen: None, upload: UploadHeader::default() }
    }

    /// The occasion of a message between the server and one client.
    pub fn of_client(round: u32, client: u32, tier: u32, last_seen: Option<u32>) -> Self {
        Self { round, client: Some(client), tier, last_seen, upload: UploadHeader::default() }
    }
}

/// The settings that both directions of a run share.
#[derive(Debug, Clone)]
pub struct OfRun {
    /// Number of rounds.
    pub rounds: u32,
    /// Its seed.
    pub seed: u64,
    /// Its tiers.
    pub tiers: Arc<Tiers>,
}

/// Everything that is fixed for one direction of a run. Cheap to share; [`CodecPlan::codec`] makes the working part.
pub struct CodecPlan {
    pub(super) direction: Direction,
    pub(super) policy: Arc<Policy>,
    layout: Arc<AdapterLayout>,
    pub(super) start: Arc<Vec<f32>>,
    options: String,
    pub(super) limits: wire::Limits,
    run: OfRun,
    density: f64,
    byte_budget: Option<u64>,
    feedback: Option<ErrorFeedback>,
}

/// Both directions of a run.
#[derive(Clone)]
pub struct Plans {
    /// Server to client.
    pub download: Arc<CodecPlan>,
    /// Client to server.
    pub upload: Arc<CodecPlan>,
}

impl CodecPlan {
    /// Loads the policy and tries it: a bad option or a wrong world is an error here, before anything runs.
    ///
    /// `start` is `W0`, `layout.values()` long.
    ///
    /// # Errors
    /// The error of the policy or its host, or settings that do not go with the policy.
    pub fn new(
        config: &Config,
        direction: Direction,
        host: &PolicyHost,
        layout: Arc<AdapterLayout>,
        start: Arc<Vec<f32>>,
        run: OfRun,
    ) -> Result<Self, CompressorError> {
        let plan = Self {
            direction,
            policy: host.load(&config.policy)?,
            limits: wire::Limits::for_values(layout.values()),
            layout,
            start,
            options: options_json(config, direction),
            run,
            density: config.density,
            byte_budget: (config.byte_budget > 0).then_some(config.byte_budget),
            feedback: config.error_feedback.then_some(ErrorFeedback { decay: config.error_decay }),
        };
        if plan.tracked() && plan.decodes_for_each_client() {
            let policy = plan.policy.name.clone();
            return Err(CompressorError::Untrackable { policy });
        }
        plan.instance()?;
        Ok(plan)
    }

    /// The policy that this direction uses.
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// Number of adapter values, `P`.
    pub fn values(&self) -> usize {
        self.layout.values()
    }

    /// The adapter's layout.
    pub fn layout(&self) -> &AdapterLayout {
        &self.layout
    }

    /// The run's start `W0`, which everyone has: drawn from the seed, or read from `lora.init` and the base model.
    pub fn start(&self) -> &Arc<Vec<f32>> {
        &self.start
    }

    /// The settings that it shares with the other direction.
    pub fn run(&self) -> &OfRun {
        &self.run
    }

    /// The tier that sees most of a download, of those that have clients.
    pub fn widest(&self, tiers: &[u32]) -> u32 {
        self.run.tiers.widest(tiers, self.density)
    }

    /// True where server and clients share a reference, so that differences to it go down.
    pub fn tracked(&self) -> bool {
        self.direction == Direction::Download && self.feedback.is_some()
    }

    /// The error feedback of an upload.
    pub fn feedback(&self) -> Option<ErrorFeedback> {
        self.feedback.filter(|_| self.direction == Direction::Upload)
    }

    /// True where each client decodes a broadcast with its own memory, so that it cannot be decoded for all at once.
    pub fn decodes_for_each_client(&self) -> bool {
        self.policy.capabilities.stateful_client || self.policy.catches_up()
    }

    pub(super) fn instance(&self) -> Result<CompressorInstance, PolicyError> {
        self.policy.compressor(&self.layout, &self.options)
    }

    pub(super) fn context(&self, occasion: &Occasion) -> Context {
        Context {
            direction: self.direction,
            content: match self.direction {
                Direction::Upload => Content::Delta,
                Direction::Download if self.tracked() => Content::Difference,
                Direction::Download => Content::Weights,
            },
            round: occasion.round,
            rounds: self.run.rounds,
            seed: self.run.seed,
            client: occasion.client,
            tier: occasion.tier,
            density: self.run.tiers.density(occasion.tier, self.density),
            rank: self.run.tiers.rank(occasion.tier),
            byte_budget: self.byte_budget,
            examples: occasion.upload.examples.into(),
            loss: occasion.upload.loss.map(f64::from),
            last_seen: occasion.last_seen,
        }
    }

    /// The header of a message. Broadcasts of a tracked download are numbered by their round.
    pub(super) fn header(&self, occasion: &Occasion) -> Header {
        let kind = match self.direction {
            Direction::Download => FrameKind::Download,
            Direction::Upload => FrameKind::Upload,
        };
        let sequence = if self.tracked() { occasion.round } else { 0 };
        self.header_of(kind, occasion, sequence)
    }

    /// The frame that tells a client whether it keeps what it remembers of a round.
    ///
    /// # Errors
    /// None that is known: one byte fits every frame.
    pub fn verdict(&self, round: u32, client: u32, accepted: bool) -> Result<Frame, WireError> {
        let header = self.header_of(FrameKind::Verdict, &Occasion::of_client(round, client, 0, None), 0);
        Frame::encode(&header, &Message { parts: vec![Part::Bytes(vec![u8::from(accepted)])] })
    }

    pub(super) fn header_of(&self, kind: FrameKind, occasion: &Occasion, sequence: u32) -> Header {
        Header {
            kind,
            layout: self.layout.hash().short(),
            policy: self.policy.hash.short(),
            round: occasion.round,
            client: occasion.client.unwrap_or(BROADCAST),
            sequence,
            upload: if kind == FrameKind::Upload { occasion.upload } else { UploadHeader::default() },
        }
    }
}

/// The options of a policy's `init`: those of the direction, with bits and direction among them.
fn options_json(config: &Config, direction: Direction) -> String {
    let mut options = config.options.clone();
    let defaults =
        [("bits", serde_json::json!(u32::from(config.bits))), ("direction", serde_json::json!(direction.name()))];
    for (key, value) in defaults {
        options.entry(key).or_insert(value);
    }
    serde_json::Value::Object(options).to_string()
}
