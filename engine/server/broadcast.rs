//! The next broadcast, made off the server's mailbox: encoded for each tier, decoded as clients decode it.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::OnceCell;

use super::ServerError;
use super::model::ema;
use super::parts::Parts;
use crate::compressor::{Compressors, Memories, Occasion, Tracker};
use crate::pool::blocking;
use crate::trainer::Evaluated;
use crate::wire::Frame;

/// Input of [`prepare`]: everything that the next broadcast depends on.
pub(super) struct PrepareArgs {
    /// The server's dense copy `W`, `P` values.
    pub weights: Arc<Vec<f32>>,
    /// The closed round; the broadcast is for the one after it.
    pub round: u32,
    /// The tiers that have clients, ascending.
    pub tiers: Arc<Vec<u32>>,
    /// The references of a tracked download, by tier; empty otherwise.
    pub trackers: BTreeMap<u32, Tracker>,
    /// The memories of the server's policies.
    pub memories: Memories,
    /// The running mean, and the weight of the newest values in it (none where they are in it already); none without
    /// `server.ema_decay`.
    pub mean: Option<(Arc<Vec<f32>>, Option<f32>)>,
}

/// One tier's broadcast.
pub(super) struct TierBroadcast {
    /// The download frame.
    pub frame: Frame,
    /// The decoded frame: the values that a client of this tier starts from, `P` values.
    pub values: Arc<Vec<f32>>,
    /// The reference of a tracked download before this broadcast: what late clients are brought up to.
    before: Option<Tracker>,
    /// The reference after this broadcast.
    after: Option<Tracker>,
    /// A snapshot frame of `before`, made when a client first needs it.
    snapshot: OnceCell<Frame>,
}

/// The next broadcast and its evaluation. What encoding it wrote to the server's memories counts once its round is
/// closed, so a resumed run encodes the same again.
pub(super) struct Broadcast {
    /// The broadcasts, by tier.
    pub tiers: BTreeMap<u32, Arc<TierBroadcast>>,
    /// The decoded broadcast of the tier with the most trainable values.
    pub widest: Arc<Vec<f32>>,
    /// The run's adapter if no round followed, and what is evaluated: `widest`, or the running mean.
    pub result: Arc<Vec<f32>>,
    /// The server's memories after encoding, as the round begins with them.
    pub memories: Memories,
    /// Validation loss and accuracy of `result`; none where it was not evaluated.
    pub result_evaluated: Option<Evaluated>,
    /// Validation loss and accuracy of the dense copy; none where it was not evaluated.
    pub dense_evaluated: Option<Evaluated>,
    /// The bytes that the next round may take, where they are more than is left of the budget.
    pub over_budget: Option<u64>,
}

impl Broadcast {
    /// The references of a tracked download after this broadcast, by tier.
    pub fn trackers(&self) -> BTreeMap<u32, Tracker> {
        let after = |(tier, broadcast): (&u32, &Arc<TierBroadcast>)| Some((*tier, broadcast.after.clone()?));
        self.tiers.iter().filter_map(after).collect()
    }
}

impl TierBroadcast {
    /// The catch-up frames for a client that saw `last_seen` last (0: no round): the broadcasts that it missed, or one
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
        // A snapshot is for the whole tier, so no client is named.
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

/// Encodes the download that follows a closed round for each tier and decodes it as clients do.
pub(super) async fn prepare(args: PrepareArgs, parts: &Parts) -> Result<Broadcast, ServerError> {
    let PrepareArgs { weights, round, tiers, mut trackers, mut memories, mean } = args;
    let compressors = &parts.compressors;
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
    let (tiers, result_evaluated, dense_evaluated, over_budget) = (broadcasts, None, None, None);
    Ok(Broadcast { tiers, widest, result, memories, result_evaluated, dense_evaluated, over_budget })
}
