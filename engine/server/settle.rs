//! Clients hear how their uploads ended, where the upload's policy wants to know: before the round is closed, each over
//! what it will remember of it. A client whose update was not counted has forgotten the round by then.

use std::sync::Arc;

use ractor::rpc::CallResult;
use tokio::task::JoinSet;

use super::ServerError;
use super::open_round::{ClosingRound, Exchange};
use crate::client::{ClientError, ClientState, Participants};
use crate::compressor::Occasion;
use crate::journal::{JournalMsg, JournalRef};
use crate::pool::blocking;

/// Tells every client of an ending round that sent an upload, at most `window` at a time; what changes by it is durable
/// when this returns, and counts when the round is closed. The result is what went wrong at single clients: they keep
/// what they had. None when the journal is gone, which takes this server with it.
pub(super) async fn settle_all(
    closing: &ClosingRound,
    window: usize,
    participants: &Participants,
    journal: &JournalRef,
) -> Result<Option<Vec<String>>, ServerError> {
    let round = closing.row.round;
    let mut warnings = Vec::new();
    if !participants.compressors.plans().upload.policy().acknowledges() {
        return Ok(Some(warnings));
    }
    for verdicts in closing.verdicts.chunks(window) {
        let mut settling = JoinSet::new();
        for (position, client, exchange) in verdicts.iter().cloned() {
            let participants = participants.clone();
            settling.spawn(async move {
                (position, client, settle_client((round, position), client, exchange, &participants).await)
            });
        }
        let mut states = Vec::new();
        while let Some(settled) = settling.join_next().await {
            let (position, client, state) = match settled {
                Ok(settled) => settled,
                Err(crash) => {
                    warnings
                        .push(format!("round {round}: a client crashed as it was told how its upload ended: {crash}"));
                    continue;
                }
            };
            match state {
                Ok(Some(state)) => states.push((position, state)),
                Ok(None) => {}
                Err(error) => {
                    let name = participants.shards.name(client);
                    warnings.push(format!("round {round}: {name} could not hear how its upload ended: {error}"));
                }
            }
        }
        if states.is_empty() {
            continue;
        }
        let stored = journal.call(|reply| JournalMsg::Settled { round, states, reply }, None).await;
        match stored {
            Ok(CallResult::Success(stored)) => stored.map_err(|source| ServerError::Journal { round, source })?,
            _ => return Ok(None),
        }
    }
    warnings.sort();
    Ok(Some(warnings))
}

/// What one client remembers after hearing; none where it changes nothing.
async fn settle_client(
    (round, position): (u32, u32),
    client: u32,
    exchange: Exchange,
    participants: &Participants,
) -> Result<Option<Vec<u8>>, ClientError> {
    let accepted = exchange.accepted == Some(true);
    let (journal, plan) = (participants.journal.clone(), participants.compressors.plans().upload.clone());
    let values = plan.values();
    let read = blocking("reading a client's state", move || {
        let staged = if accepted { journal.staged_state(round, position)? } else { None };
        let stored = match staged {
            Some(staged) => Some(staged),
            None => journal.client_state(client)?,
        };
        Ok::<_, ClientError>(ClientState::from_bytes(&stored.unwrap_or_default(), values)?)
    });
    let mut state = read.await??;
    let upload = exchange.upload.map(|upload| upload.header).unwrap_or_default();
    let occasion = Occasion { upload, ..Occasion::of_client(round, client, exchange.tier, exchange.last_seen) };
    let name = &plan.policy().name;
    let memory = participants.compressors.acknowledge(occasion, accepted, state.memories.of(name)).await??;
    state.memories.keep(name, memory);
    if !state.memories.changed() {
        return Ok(None);
    }
    let state = Arc::new(state);
    Ok(blocking("writing a client's state", move || state.to_bytes()).await.map(Some)?)
}
