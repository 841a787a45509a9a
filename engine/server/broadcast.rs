//! What goes down next, off the server's mailbox: encode it for each tier, decode it as a client would, evaluate.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::sync::OnceCell;

use super::ServerError;
use super::model::ema;
use crate::client::Participants;
use crate::compressor::{Compressors, Memories, Occasion, Tracker};
use crate::pool::blocking;
use crate::trainer::{Evaluated, Trainers};
use crate::wire::Frame;

/// What a closed round leaves for the next: everything that encoding depends on.
pub(super) struct PrepareArgs {
    /// The dense copy.
    pub weights: Arc<Vec<f32>>,
    /// The closed round.
    pub round: u32,
    /// Whether to evaluate.
    pub evaluate: bool,
    /// The tiers that have clients, ascending.
    pub tiers: Arc<Vec<u32>>,
    /// The references of a tracked download, by tier; empty otherwise.
    pub trackers: BTreeMap<u32, Tracker>,
    /// What the server remembers.
    pub memories: Memories,
    /// The running mean, and how much of the next one is what is seen now, which may be in it already; none without
    /// `server.ema_decay`.
    pub mean: Option<(Arc<Vec<f32>>, Option<f32>)>,
}

/// One tier's broadcast.
pub(super) struct TierBroadcast {
    /// The download frame.
    pub frame: Frame,
    /// What a client starts from.
    pub values: Arc<Vec<f32>>,
    /// A tracked download before this broadcast: what a client catches up to.
    before: Option<Tracker>,
    /// The same with it.
    after: Option<Tracker>,
    /// Made when a client first needs it.
    snapshot: OnceCell<Frame>,
}

/// What goes down next, and what it is worth. What encoding wrote counts once the round that it is for is closed, so that
/// a resumed run encodes the same again.
pub(super) struct Broadcast {
    /// The broadcasts, by tier.
    pub tiers: BTreeMap<u32, Arc<TierBroadcast>>,
    /// What the tier that sees most starts from.
    pub widest: Arc<Vec<f32>>,
    /// What is evaluated, and the adapter of the run: the same, or its running mean.
    pub result: Arc<Vec<f32>>,
    /// What the server remembers, with what encoding wrote, as the round finds it.
    pub memories: Memories,
    /// What the result is worth on the validation data.
    pub result_evaluated: Option<Evaluated>,
    /// What the dense copy is worth.
    pub dense_evaluated: Option<Evaluated>,
}

impl Broadcast {
    /// The references with the broadcasts in them.
    pub fn trackers(&self) -> BTreeMap<u32, Tracker> {
        let after = |(tier, broadcast): (&u32, &Arc<TierBroadcast>)| Some((*tier, broadcast.after.clone()?));
        self.tiers.iter().filter_map(after).collect()
    }
}

impl TierBroadcast {
    /// The frames that bring a client up to this broadcast that saw `last_seen` last (0: none): those that it missed, or a
    /// snapshot where that is shorter.
    pub async fn catch_up(
        &self,
        occasion: Occasion,
        last_seen: u32,
        compressors: &Compressors,
    ) -> Result<Vec<Frame>, ServerError> {
        let Some(before) = &self.before else { return Ok(Vec::new()) };
        let missed = before.missed(last_seen);
        if missed.as_ref().is_some_and(Vec::is_empty) {
            return Ok(Vec::new());
        }
        let round = occasion.round;
        // For the whole tier: no client is named in it.
        let of_tier = Occasion::broadcast(round, occasion.tier);
        let make = async || {
            let made = compressors.snapshot(of_tier, before.reference().clone()).await;
            let made = made.map_err(|source| ServerError::Pool { round, source })?;
            made.map_err(|source| ServerError::Download { round, source })
        };
        let snapshot = self.snapshot.get_or_try_init(make).await?.clone();
        let shorter = |frames: &Vec<Frame>| frames.iter().map(|frame| frame.len()).sum::<usize>() <= snapshot.len();
        Ok(missed.filter(shorter).unwrap_or_else(|| vec![snapshot]))
    }
}

/// Encodes the download that follows a closed round, decodes it as a client would and evaluates on that when asked to.
pub(super) async fn prepare(
    args: PrepareArgs,
    participants: &Participants,
    cancel: &Arc<AtomicBool>,
) -> Result<Broadcast, ServerError> {
    let PrepareArgs { weights, round, evaluate, tiers, mut trackers, mut memories, mean } = args;
    let compressors = &participants.compressors;
    let plan = &compressors.plans().download;
    let mut broadcasts = BTreeMap::new();
    for tier in tiers.iter().copied() {
        let (before, occasion) = (trackers.remove(&tier), Occasion::broadcast(round + 1, tier));
        let memory = memories.of(&plan.policy().name);
        let made = compressors.broadcast(occasion, weights.clone(), before.clone(), memory).await;
        let download = |source| ServerError::Download { round: round + 1, source };
        let made = made.map_err(|source| ServerError::Pool { round, source })?.map_err(download)?;
        memories.keep(&plan.policy().name, made.memory);
        let (frame, values, after, snapshot) = (made.frame, made.values, made.tracker, OnceCell::new());
        broadcasts.insert(tier, Arc::new(TierBroadcast { frame, values, before, after, snapshot }));
    }
    let widest =
        broadcasts.get(&plan.widest(&tiers)).map_or_else(|| weights.clone(), |broadcast| broadcast.values.clone());
    let result = match mean {
        None => widest.clone(),
        Some((mean, None)) => mean,
        Some((mean, Some(share))) => {
            let newest = widest.clone();
            let mean = blocking("the running mean", move || ema(&mean, &newest, share)).await;
            Arc::new(mean.map_err(|source| ServerError::Crashed { round, source })?)
        }
    };
    let memories = memories.settled();
    let mut broadcast =
        Broadcast { tiers: broadcasts, widest, result, memories, result_evaluated: None, dense_evaluated: None };
    if evaluate {
        let trainers = &participants.trainers;
        broadcast.result_evaluated = evaluate_on_validation(&broadcast.result, round, trainers, cancel).await?;
        broadcast.dense_evaluated = if Arc::ptr_eq(&broadcast.result, &weights) || broadcast.result == weights {
            broadcast.result_evaluated
        } else {
            evaluate_on_validation(&weights, round, trainers, cancel).await?
        };
    }
    Ok(broadcast)
}

/// What weights are worth on the validation data; none where there is nothing to predict.
async fn evaluate_on_validation(
    weights: &Arc<Vec<f32>>,
    round: u32,
    trainers: &Trainers,
    cancel: &Arc<AtomicBool>,
) -> Result<Option<Evaluated>, ServerError> {
    let evaluated = trainers.evaluate(weights.clone(), cancel.clone()).await;
    let evaluated = evaluated.map_err(|source| ServerError::Pool { round, source })?;
    let evaluated = evaluated.map_err(|source| ServerError::Evaluate { round, source })?;
    Ok((evaluated.tokens > 0).then_some(evaluated))
}
