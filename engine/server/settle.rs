//! Acknowledgement of uploads: clients are told before the round is closed whether their update was accepted, where the
//! upload policy has a hook for it. A client whose update was not has forgotten the round by then.

use ractor::rpc::CallResult;
use tokio::task::JoinSet;

use super::ServerError;
use super::open_round::ClosingRound;
use super::parts::Parts;
use crate::journal::{JournalMsg, JournalRef};
use crate::link::Outcome;

/// Acknowledges every upload of a closing round, at most `window` clients at a time. The changed client states are
/// durable when this returns, and count when the round is closed. The result is a warning for each client that failed,
/// which keeps its old state; none when the journal has ended, which ends this server too.
pub(super) async fn settle_all(
    closing: &ClosingRound,
    window: usize,
    parts: &Parts,
    journal: &JournalRef,
) -> Result<Option<Vec<String>>, ServerError> {
    let round = closing.row.round;
    let mut warnings = Vec::new();
    if parts.clients.keep_their_states() || !parts.compressors.plans().upload.policy().acknowledges() {
        return Ok(Some(warnings));
    }
    for verdicts in closing.verdicts.chunks(window) {
        let mut settling = JoinSet::new();
        for (position, client, exchange) in verdicts.iter().cloned() {
            let (tier, last_seen, accepted) = (exchange.tier, exchange.last_seen, exchange.accepted == Some(true));
            let upload = exchange.upload.map(|upload| upload.header).unwrap_or_default();
            let clients = parts.clients.clone();
            settling.spawn(async move {
                let outcome = Outcome { round, position, client, tier, last_seen, upload, accepted };
                (position, client, clients.acknowledge(outcome).await)
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
                    let name = parts.roster.name(client);
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
