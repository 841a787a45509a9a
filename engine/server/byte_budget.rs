//! The byte budget of a run: what the closed rounds have shown and the next broadcast in, the bytes that the next round may
//! take out. A run ends before a round that may go over its budget.
//!
//! The bytes down are known before a round is opened: the broadcast of each tier is encoded, and so are the frames that bring
//! each candidate up to date. The bytes up are not. Every candidate, stand-ins too, is taken to send as much as the longest
//! upload of the closed rounds; before the first round, as much as the policy makes of a made-up update. An upload that is
//! longer than all before it, or a client that is asked again after a crash, can still bring a round over; that is said.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::broadcast::Broadcast;
use super::catch_up::{catch_up_frames, last_seen};
use super::open_round::{ClosingRound, Exchange};
use super::parts::Parts;
use super::{LargestExchange, ServerError};
use crate::roster::Tiers;

/// Bytes by which the header of an upload may be longer than that of the longest so far: the numbers of round, client and examples
/// take more bytes the larger they are.
const HEADER_GROWTH: u64 = 8;

/// The next round before it is opened, and the budget that it has to fit in.
pub(super) struct NextRound {
    pub round: u32,
    /// Bytes of the whole run.
    pub budget: u64,
    /// Bytes of the rounds before.
    pub spent: u64,
    /// All that may be asked: cohort and stand-ins.
    pub candidates: Vec<u32>,
    pub tiers: Arc<Tiers>,
    /// The most that each exchange may take beside them.
    pub largest: LargestExchange,
    /// The clients whose update is in the round that is being closed: the journal does not know yet.
    pub just_seen: BTreeSet<u32>,
}

impl NextRound {
    /// The bytes that the round may take, where they are more than what is left of the budget.
    pub async fn over_budget(&self, broadcast: &Broadcast, parts: &Parts) -> Result<Option<u64>, ServerError> {
        let Self { budget, spent, largest, .. } = *self;
        let each = largest.upload.saturating_add(largest.beside).saturating_add(HEADER_GROWTH);
        let mut bytes = 0_u64;
        for client in self.candidates.iter().copied() {
            let tier = self.tiers.of(client);
            let Some(of_tier) = broadcast.tiers.get(&tier) else { continue };
            let last_seen = self.last_seen(client, parts).await?;
            let occasion = (self.round, client, tier, last_seen);
            let (catch_up, _) = catch_up_frames(occasion, of_tier, broadcast.memories.clone(), parts).await?;
            let down = catch_up.iter().chain([&of_tier.frame]).map(|frame| frame.len() as u64).sum::<u64>();
            bytes = bytes.saturating_add(down).saturating_add(each);
        }
        Ok((bytes > budget.saturating_sub(spent)).then_some(bytes))
    }

    async fn last_seen(&self, client: u32, parts: &Parts) -> Result<Option<u32>, ServerError> {
        if self.just_seen.contains(&client) {
            return Ok(Some(self.round - 1));
        }
        last_seen(self.round, client, parts).await
    }
}

/// The clients whose update is in a closing round.
pub(super) fn accepted(closing: &ClosingRound) -> BTreeSet<u32> {
    let accepted = |(_, client, exchange): &(u32, u32, Exchange)| (exchange.accepted == Some(true)).then_some(*client);
    closing.verdicts.iter().filter_map(accepted).collect()
}
