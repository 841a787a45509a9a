//! A round begun again without one client's update, over which the aggregation policy trapped or the aggregate became
//! infinite. The other answers come from the journal where they are stored, as on a resume.

use std::sync::atomic::Ordering;

use super::message::{ServerRef, TaskResult, send, spawn_task};
use super::open_round::{Excluded, OpenRound};
use super::state::{Phase, ServerState};
use super::{EndedBy, ServerError, ServerEvent};
use crate::pool::blocking;

/// The least L2 norm of an update that can make an aggregate infinite: a policy may square it or multiply it with
/// another.
const MIN_CULPRIT_NORM: f64 = 1e15;

impl ServerState {
    /// Abandons the open round and begins it again without the update at `position`.
    pub(super) fn reopen_round(&mut self, myself: &ServerRef, position: u32, reason: String) {
        let Phase::Round(open) = std::mem::replace(&mut self.phase, Phase::Preparing) else { return };
        // Their answers would be of the abandoned opening.
        open.cancels.iter().for_each(|cancel| cancel.store(true, Ordering::Relaxed));
        let (round, client) = (open.number, self.client_name(open.candidates[position as usize]));
        self.emit(ServerEvent::Warning(format!("round {round} is begun again without {client}: {reason}")));
        let mut excluded = open.excluded;
        excluded.insert(position, reason);
        let (journal, reply_to) = (self.args.parts.journal.clone(), myself.clone());
        spawn_task(myself, "the look for stored answers", async move {
            let stored = match blocking("reading the journal", move || journal.update_positions(round)).await {
                Ok(read) => read.map_err(|source| ServerError::Journal { round, source: source.into() }),
                Err(source) => Err(ServerError::Crashed { round, source }),
            };
            send(&reply_to, TaskResult::Reopen(excluded, stored));
        });
    }

    /// Opens the round again with the stored answers that were found.
    pub(super) fn reopened(&mut self, myself: &ServerRef, excluded: Excluded, stored: Result<Vec<u32>, ServerError>) {
        match stored {
            Err(error) => self.fail(myself, error),
            Ok(_) if self.stop.load(Ordering::Relaxed) => self.finish(myself, EndedBy::Interruption),
            Ok(stored) => self.open_round(myself, stored, excluded),
        }
    }
}

impl OpenRound {
    /// The position whose update made the aggregate infinite: the last accepted one that is large enough. None where
    /// all are too small.
    pub(super) fn culprit(&self) -> Option<u32> {
        let norms: Vec<Option<f64>> = self.exchanges.iter().map(|exchange| exchange.as_ref()?.norm).collect();
        culprit(&norms)
    }
}

/// The same from the L2 norms of the accepted updates, by position.
fn culprit(norms: &[Option<f64>]) -> Option<u32> {
    let accepted = || norms.iter().flatten();
    let largest = accepted().copied().fold(0.0, f64::max);
    // Of the `n` summands of an infinite sum at least one is an `n`-th of the largest finite number.
    let least = (largest / accepted().count() as f64).max(MIN_CULPRIT_NORM);
    norms.iter().rposition(|norm| norm.is_some_and(|norm| norm >= least)).map(|position| position as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_of_two_updates_that_are_too_large_together_is_the_culprit() {
        let two = [Some(1.0), Some(3e38), None, Some(2e38), Some(0.5)];
        assert_eq!(culprit(&two), Some(3));
        assert_eq!(culprit(&two[..3]), Some(1));
        assert_eq!(culprit(&[Some(1.0), Some(4.0)]), None, "a policy that makes a NaN of small updates");
        assert_eq!(culprit(&[None, None]), None);
        assert_eq!(culprit(&[]), None);
    }
}
