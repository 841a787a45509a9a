//! The context of a compressor's hook: direction, round, client, density and the rest.

use rand_core::Rng;

use super::bindings::cellm::policy::types as wit;
use crate::random::{self, Purpose};

/// Direction of a message.
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

/// Content of a message's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Content {
    /// `W` itself.
    Weights,
    /// A client's local end minus its local start.
    Delta,
    /// `W` minus the reference that sender and receivers share.
    Difference,
}

/// The context of one call. Encoder and decoder of a message must be given the same.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Context {
    /// Direction of the message.
    pub direction: Direction,
    /// Content of its values.
    pub content: Content,
    /// Number of the round; the first is 1.
    pub round: u32,
    /// Number of rounds of the run.
    pub rounds: u32,
    /// The run's seed. The policy sees a seed for this message alone that is drawn from it.
    pub seed: u64,
    /// The client; none for a message to all.
    pub client: Option<u32>,
    /// The client's tier, 0 where the run has none.
    pub tier: u32,
    /// Share of the values to send, in (0, 1].
    pub density: f64,
    /// Rank that the tier trains; 0 is the whole rank of every pair.
    pub rank: u32,
    /// Bytes that the message should not exceed.
    pub byte_budget: Option<u64>,
    /// Training examples behind an upload; 0 for a download.
    pub examples: u64,
    /// Mean local training loss behind an upload, nats a token; none, or NaN, where it is not known.
    pub loss: Option<f64>,
    /// The last round whose update of this client was accepted.
    pub last_seen: Option<u32>,
}

impl Context {
    pub(super) fn for_policy(&self) -> wit::Context {
        let (direction, purpose) = match self.direction {
            Direction::Download => (wit::Direction::Download, Purpose::PolicyDownload),
            Direction::Upload => (wit::Direction::Upload, Purpose::PolicyUpload),
        };
        let content = match self.content {
            Content::Weights => wit::Content::Weights,
            Content::Delta => wit::Content::Delta,
            Content::Difference => wit::Content::Difference,
        };
        wit::Context {
            direction,
            content,
            round: self.round,
            rounds: self.rounds,
            seed: random::stream(self.seed, purpose, self.round, self.client.unwrap_or(u32::MAX)).next_u64(),
            client: self.client,
            tier: self.tier,
            density: self.density,
            rank: self.rank,
            byte_budget: self.byte_budget,
            examples: self.examples,
            loss: self.loss.filter(|loss| !loss.is_nan()),
            last_seen: self.last_seen,
        }
    }
}
