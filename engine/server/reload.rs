//! Reloading of changed policies between two rounds. The owner checks their files; where one has changed, it starts the
//! core anew.

use super::message::{ServerRef, TaskResult, send, spawn_task};
use super::state::{Phase, ServerState};
use super::{Reloaded, ServerEvent};
use crate::pool::blocking;

impl ServerState {
    /// Checks the policies' files where the run wants that, then opens the next round.
    pub(super) fn reload(&mut self, myself: &ServerRef) {
        let Some(reload) = self.args.reload.clone().filter(|_| self.closed_rounds < self.args.rounds) else {
            return self.next_round(myself);
        };
        let reply_to = myself.clone();
        spawn_task(myself, "the look at the policies", async move {
            // A check that panics has found nothing: the policies stay.
            let prepared = blocking("the look at the policies", move || reload()).await;
            let reloaded = prepared.unwrap_or_else(|crash| Reloaded { changed: false, notes: vec![crash.to_string()] });
            send(&reply_to, TaskResult::Reloaded(reloaded));
        });
    }

    /// Tells the notes of the check; ends this server where a policy has changed.
    pub(super) fn reloaded(&mut self, myself: &ServerRef, reloaded: Reloaded) {
        for note in reloaded.notes {
            self.emit(if reloaded.changed { ServerEvent::Note(note) } else { ServerEvent::Warning(note) });
        }
        if !reloaded.changed {
            return self.next_round(myself);
        }
        // All that this server knows is in the journal, and its workers hold the old policies.
        self.phase = Phase::Over;
        self.emit(ServerEvent::Reloaded);
    }
}
