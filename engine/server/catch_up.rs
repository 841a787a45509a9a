//! The frames that bring one client up to date before the broadcast of a round.

use std::sync::Arc;

use super::ServerError;
use super::broadcast::TierBroadcast;
use super::parts::Parts;
use crate::compressor::{Memories, Occasion};
use crate::policy::Changes;
use crate::pool::blocking;
use crate::wire::Frame;

/// The last round whose update of a client was accepted.
pub(super) async fn last_seen(round: u32, client: u32, parts: &Parts) -> Result<Option<u32>, ServerError> {
    let journal = parts.journal.clone();
    let read = blocking("reading the journal", move || journal.last_seen(client)).await;
    let read = read.map_err(|source| ServerError::Crashed { round, source })?;
    read.map_err(|source| ServerError::Journal { round, source: Arc::new(source) })
}

/// The frames that bring a client up to date, for a round, client, tier and the last round seen; with what making them wrote
/// to the memory of the download policy.
pub(super) async fn catch_up_frames(
    (round, client, tier, last_seen): (u32, u32, u32, Option<u32>),
    broadcast: &TierBroadcast,
    memories: Memories,
    parts: &Parts,
) -> Result<(Vec<Frame>, Option<Changes>), ServerError> {
    let occasion = Occasion::of_client(round, client, tier, last_seen);
    let compressors = &parts.compressors;
    let mut catch_up = broadcast.catch_up(occasion, last_seen.unwrap_or(0), compressors).await?;
    let policy = compressors.plans().download.policy();
    let mut changes = None;
    if policy.catches_up() && round > 1 {
        let made = compressors.encode_catch_up(occasion, memories.of(&policy.name)).await;
        let made = made.map_err(|source| ServerError::Pool { round, source })?;
        if let Some((frame, memory)) = made.map_err(|source| ServerError::Download { round, source })? {
            catch_up.push(frame);
            changes = Some(memory.written()).filter(|written| !written.is_empty());
        }
    }
    Ok((catch_up, changes))
}
