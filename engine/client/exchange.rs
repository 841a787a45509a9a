//! One exchange: what a client is asked, what it answers, and the steps in between.

use std::sync::Arc;
use std::time::Instant;

use super::state::{ClientState, DamagedState};
use crate::compressor::{CompressorError, Compressors, Occasion};
use crate::journal::{Journal, JournalError};
use crate::link::{Assignment, ClientUpdate};
use crate::metrics::Metrics;
use crate::pool::{Crash, OwnTime, PoolError, blocking};
use crate::privacy::{self, Place};
use crate::random;
use crate::trainer::{ClientData, TrainKey, Trained, TrainerError, Trainers};
use crate::wire::UploadHeader;

/// The parts that all clients of a run share.
#[derive(Clone)]
pub struct Participants {
    /// The compressor pool.
    pub compressors: Compressors,
    /// The trainer pool.
    pub trainers: Trainers,
    /// Every client's shard.
    pub shards: Arc<ClientData>,
    /// The coordinates that each tier may train, by tier; none where it trains all.
    pub trainable: Arc<Vec<Option<Arc<Vec<u32>>>>>,
    /// The run's metrics.
    pub metrics: Arc<Metrics>,
    /// Section `privacy`.
    pub privacy: privacy::Config,
    /// The run's seed.
    pub seed: u64,
    /// True where the noise of `privacy.where` client is drawn from the run's seed, so that a simulation repeats. A deployed client
    /// takes it from the operating system: the server knows the seed.
    pub repeatable_noise: bool,
}

impl Participants {
    /// The same, with workers that run on a client's clock.
    fn timed(&self, clock: &Arc<OwnTime>) -> Self {
        Self { compressors: self.compressors.timed(clock), trainers: self.trainers.timed(clock), ..self.clone() }
    }
}

/// The reason why a client has no update.
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
    /// A part of it crashed.
    #[error(transparent)]
    Crash(#[from] Crash),
    /// Its state cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The system has no randomness for its noise.
    #[error("no randomness for the noise that hides the update: {0}")]
    Randomness(std::io::Error),
    /// Its state is damaged.
    #[error(transparent)]
    State(#[from] DamagedState),
}

/// Download, train, upload: FLASC Alg. 1, client side. What the hooks write to the client's memory is in the answer, and
/// counts once the round is closed with it.
pub(super) async fn exchange(
    client: u32,
    assignment: Assignment,
    mut state: ClientState,
    participants: &Participants,
) -> Result<ClientUpdate, ClientError> {
    let Assignment { round, tier, last_seen, .. } = assignment;
    let participants = &participants.timed(&assignment.clock);
    let examples = participants.shards.examples(client).try_into().unwrap_or(u32::MAX);
    let mut occasion = Occasion::of_client(round, client, tier, last_seen);
    occasion.upload.examples = examples;
    let start = receive(&occasion, &assignment, participants, &mut state).await?;
    let trainable = plan(occasion, &start, participants, &mut state).await?;
    let training = Instant::now();
    let key = TrainKey { seed: participants.seed, round, client };
    let trained = participants.trainers.train(key, start, assignment.cancel.clone(), trainable).await??;
    count(participants, &trained, training);
    // The loss as it travels: what the policy sees at both ends is the same.
    let loss = (trained.tokens > 0).then_some(trained.loss as f32).filter(|loss| loss.is_finite());
    occasion.upload = UploadHeader { examples, loss };
    let name = &participants.compressors.plans().upload.policy().name;
    let update = Arc::new(hidden(trained.delta.0, key, participants, &assignment.clock).await?);
    let memory = state.memories.of(name);
    let upload = participants.compressors.upload(occasion, update, state.residual.take(), memory).await??;
    state.memories.keep(name, upload.memory);
    state.residual = upload.residual;
    Ok(ClientUpdate {
        frame: upload.frame,
        state: changed(state).await?,
        steps: trained.steps,
        seconds: assignment.clock.spent().as_secs_f64(),
    })
}

/// The update as it may leave the client: bounded and under noise where the clients see to that themselves.
async fn hidden(
    mut delta: Vec<f32>,
    key: TrainKey,
    participants: &Participants,
    clock: &Arc<OwnTime>,
) -> Result<Vec<f32>, ClientError> {
    let privacy = &participants.privacy;
    if !privacy.is_on() || privacy.place != Place::Client {
        return Ok(delta);
    }
    let (limit, deviation, clock) = (privacy.clip, privacy.deviation(), clock.clone());
    let repeatable = participants.repeatable_noise;
    let hide = move || {
        privacy::clip(&mut delta, limit);
        let stream = match repeatable {
            true => privacy::noise_stream(key.seed, key.round, Some(key.client)),
            false => random::unrepeatable()?,
        };
        privacy::perturb(&mut delta, deviation, stream);
        Ok(delta)
    };
    blocking("a client's noise", move || clock.measure(hide)).await?.map_err(ClientError::Randomness)
}

/// The state as bytes, which can be long, where the round changed it.
async fn changed(state: ClientState) -> Result<Option<Vec<u8>>, Crash> {
    if !state.memories.changed() && state.residual.is_none() {
        return Ok(None);
    }
    blocking("writing a client's state", move || state.to_bytes()).await.map(Some)
}

/// The state of a simulated client since the last round that closed with it.
pub(super) async fn load(
    client: u32,
    journal: &Arc<Journal>,
    participants: &Participants,
) -> Result<ClientState, ClientError> {
    if !journal.remembers_clients() {
        return Ok(ClientState::default());
    }
    let (journal, values) = (journal.clone(), participants.compressors.plans().upload.values());
    blocking("reading a client's state", move || {
        let stored = journal.client_state(client)?;
        Ok(ClientState::from_bytes(&stored.unwrap_or_default(), values)?)
    })
    .await?
}

/// The adapter that the client starts from.
async fn receive(
    occasion: &Occasion,
    assignment: &Assignment,
    participants: &Participants,
    state: &mut ClientState,
) -> Result<Arc<Vec<f32>>, ClientError> {
    let compressors = &participants.compressors;
    let plan = &compressors.plans().download;
    let name = &plan.policy().name;
    let mut memory = state.memories.of(name);
    // A tracked download's frames were applied when its reference was: the server's own copy, shared by its bits.
    for frame in assignment.catch_up.iter().filter(|_| !plan.tracked()) {
        memory = compressors.decode_catch_up(*occasion, frame.clone(), memory).await??;
    }
    let broadcast = Occasion::broadcast(occasion.round, occasion.tier);
    let (start, memory) = compressors.receive(broadcast, assignment.frame.clone(), memory).await??;
    state.memories.keep(name, memory);
    Ok(start)
}

/// The coordinates that the client may train: its tier's, of these the policy's; none where it trains all.
async fn plan(
    occasion: Occasion,
    received: &Arc<Vec<f32>>,
    participants: &Participants,
    state: &mut ClientState,
) -> Result<Option<Arc<Vec<u32>>>, ClientError> {
    let of_tier = participants.trainable.get(occasion.tier as usize).cloned().flatten();
    let policy = participants.compressors.plans().upload.policy();
    if !policy.plans() {
        return Ok(of_tier);
    }
    let memory = state.memories.of(&policy.name);
    let planned = participants.compressors.plan_training(occasion, received.clone(), memory).await??;
    state.memories.keep(&policy.name, planned.1);
    Ok(match (of_tier, planned.0) {
        (Some(of_tier), Some(planned)) => Some(Arc::new(intersection(&of_tier, &planned))),
        (of_tier, planned) => of_tier.or(planned.map(Arc::new)),
    })
}

/// Coordinates of both, which ascend.
fn intersection(left: &[u32], right: &[u32]) -> Vec<u32> {
    let mut rest = left.iter().peekable();
    let in_left = |at: &&u32| {
        while rest.next_if(|known| *known < *at).is_some() {}
        rest.peek().is_some_and(|known| *known == *at)
    };
    right.iter().filter(in_left).copied().collect()
}

fn count(participants: &Participants, trained: &Trained, training: Instant) {
    let metrics = &participants.metrics;
    metrics.training_steps.inc_by(trained.steps.into());
    metrics.training_tokens.inc_by(trained.tokens);
    metrics.training_seconds.observe(training.elapsed().as_secs_f64());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tier_and_a_policy_train_what_both_allow() {
        assert_eq!(intersection(&[1, 3, 5, 9], &[0, 3, 4, 5, 10]), [3, 5]);
        assert_eq!(intersection(&[], &[1]), [0_u32; 0]);
        assert_eq!(intersection(&[2, 7], &[2, 7]), [2, 7]);
    }
}
