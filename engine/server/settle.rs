//! Acknowledgement of uploads: clients are told before the round is closed whether their update was accepted, where the
//! upload policy has a hook for it. A client whose update was not has forgotten the round by then.

use std::sync::Arc;

use ractor::rpc::CallResult;
use tokio::task::JoinSet;

use super::ServerError;
use super::open_round::{ClosingRound, Exchange};
use crate::client::{ClientError, ClientState, Participants};
use crate::compressor::Occasion;
use crate::journal::{JournalMsg, JournalRef};
use crate::pool::blocking;

/// Acknowledges every upload of a closing round, at most `window` clients at a time. The changed client states are
/// durable when this returns, and count when the round is closed. The result is a warning for each client that failed,
/// which keeps its old state; none when the journal has ended, which ends this server too.
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

/// The client's state after its acknowledgement; none where that changed nothing.
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
