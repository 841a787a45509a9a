//! Between two rounds: has a policy changed? The owner looks; where it has, it starts everything anew from the journal.

use super::message::{Internal, ServerRef, send, spawn_task};
use super::state::{Phase, ServerState};
use super::{Reloaded, ServerEvent};
use crate::pool::blocking;

impl ServerState {
    /// Begins the next round, after a look at the policies where the run wants one.
    pub(super) fn reload(&mut self, myself: &ServerRef) {
        let Some(reload) = self.args.reload.clone().filter(|_| self.closed < self.args.rounds) else {
            return self.next_round(myself);
        };
        let reply_to = myself.clone();
        spawn_task(myself, "the look at the policies", async move {
            // A look that panics has found nothing: the policies stay.
            let prepared = blocking("the look at the policies", move || reload()).await;
            let reloaded = prepared.unwrap_or_else(|crash| Reloaded { changed: false, notes: vec![crash.to_string()] });
            send(&reply_to, Internal::Reloaded(reloaded));
        });
    }

    pub(super) fn reloaded(&mut self, myself: &ServerRef, reloaded: Reloaded) {
        for note in reloaded.notes {
            self.tell(if reloaded.changed { ServerEvent::Note(note) } else { ServerEvent::Warning(note) });
        }
        if !reloaded.changed {
            return self.next_round(myself);
        }
        // Everything that this server knows is in the journal, and its workers hold the old policies.
        self.phase = Phase::Over;
        self.tell(ServerEvent::Reloaded);
    }
}
