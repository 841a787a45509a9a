//! One exchange: what a client is asked, what it answers, and the steps in between.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use crate::compressor::{CompressorError, Compressors, Occasion};
use crate::metrics::Metrics;
use crate::policy::Direction;
use crate::pool::PoolError;
use crate::trainer::{Shards, TrainKey, TrainerError, Trainers};

/// What every client of a run shares.
#[derive(Clone)]
pub struct Participants {
    /// The compressor pool.
    pub compressors: Compressors,
    /// The trainer pool.
    pub trainers: Trainers,
    /// Every client's shard.
    pub shards: Arc<Shards>,
    /// Where to count.
    pub metrics: Arc<Metrics>,
    /// The run's seed.
    pub seed: u64,
}

/// What the server asks of a client.
#[derive(Clone)]
pub struct Assignment {
    /// The round.
    pub round: u32,
    /// The download frame, the same for the whole cohort.
    pub frame: Arc<Vec<u8>>,
    /// Set when the answer is no longer wanted.
    pub cancel: Arc<AtomicBool>,
}

/// What a client answers.
#[derive(Debug, Clone)]
pub struct ClientUpdate {
    /// The upload frame.
    pub frame: Arc<Vec<u8>>,
    /// Training examples that it has.
    pub examples: u64,
    /// Mean training loss, nats a token.
    pub loss: f64,
    /// Local steps done.
    pub steps: u32,
    /// Tokens trained on.
    pub tokens: u64,
    /// Seconds of work, its queueing included.
    pub seconds: f64,
}

/// Why a client has no update.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Compressing or decompressing failed.
    #[error(transparent)]
    Compressor(#[from] CompressorError),
    /// Training failed.
    #[error(transparent)]
    Trainer(#[from] TrainerError),
    /// The workers crashed on it.
    #[error(transparent)]
    Pool(#[from] PoolError),
}

/// Download, train, upload: FLASC Alg. 1, client side.
pub(super) async fn exchange(
    client: u32,
    assignment: Assignment,
    participants: &Participants,
) -> Result<ClientUpdate, ClientError> {
    let started = Instant::now();
    let Assignment { round, frame, cancel } = assignment;
    let examples = participants.shards.examples(client);
    let broadcast = Occasion { round, client: None, examples: 0 };
    let start = participants.compressors.decode(Direction::Download, broadcast, frame).await??;
    let key = TrainKey { seed: participants.seed, round, client };
    let training = Instant::now();
    let trained = participants.trainers.train(key, start, cancel, None).await??;
    let metrics = &participants.metrics;
    metrics.training_steps.inc_by(trained.steps.into());
    metrics.training_tokens.inc_by(trained.tokens);
    metrics.training_seconds.observe(training.elapsed().as_secs_f64());
    let own = Occasion { round, client: Some(client), examples };
    let frame = participants.compressors.encode(Direction::Upload, own, Arc::new(trained.delta.0)).await??;
    Ok(ClientUpdate {
        frame: Arc::new(frame),
        examples,
        loss: trained.loss,
        steps: trained.steps,
        tokens: trained.tokens,
        seconds: started.elapsed().as_secs_f64(),
    })
}
