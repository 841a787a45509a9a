//! Between two rounds: has a policy changed? The owner looks; where it has, it starts everything anew from the journal.

use std::sync::Arc;

use super::actor::{Internal, ServerRef, beside, send};
use super::state::{Phase, ServerState};
use super::{Refreshed, ServerEvent};
use crate::pool::blocking;

/// Looks whether the policies of the next round are others than those of the last. Blocking.
pub type Refresh = Arc<dyn Fn() -> Refreshed + Send + Sync>;

impl ServerState {
    /// Begins the next round, after a look at the policies where the run wants one.
    pub(super) fn refresh(&mut self, myself: &ServerRef) {
        let Some(refresh) = self.args.refresh.clone().filter(|_| self.closed < self.args.rounds) else {
            return self.next(myself);
        };
        let reply_to = myself.clone();
        beside(myself, "the look at the policies", async move {
            // A look that panics has found nothing: the policies stay.
            let looked = blocking("the look at the policies", move || refresh()).await;
            let refreshed = looked.unwrap_or_else(|crash| Refreshed { changed: false, notes: vec![crash.to_string()] });
            send(&reply_to, Internal::Refreshed(refreshed));
        });
    }

    pub(super) fn refreshed(&mut self, myself: &ServerRef, refreshed: Refreshed) {
        for note in refreshed.notes {
            self.tell(if refreshed.changed { ServerEvent::Note(note) } else { ServerEvent::Warning(note) });
        }
        if !refreshed.changed {
            return self.next(myself);
        }
        // Everything that this server knows is in the journal, and its workers hold the old policies.
        self.phase = Phase::Over;
        self.tell(ServerEvent::Refreshed);
    }
}
