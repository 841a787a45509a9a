//! The server's writes to the metrics: a closed round, and the counters of a resumed run.

use super::outcomes::Outcomes;
use super::round_row::RoundRow;
use super::state::ServerState;
use crate::metrics::{Clients, raise};

impl ServerState {
    /// Counts a round that has just been closed.
    pub(super) fn record_round(&self, row: &RoundRow) {
        let metrics = &self.args.metrics;
        metrics.round_closed(row.round, row.seconds);
        let losses = [row.train_loss, row.eval_loss, row.eval_loss_dense_copy, row.update_norm];
        metrics.loss_not_finite.inc_by(losses.iter().flatten().filter(|value| !value.is_finite()).count() as u64);
        self.set_gauges(row);
    }

    /// Counters (but of bytes) and gauges of a server that begins: none counts less than the journal has, and nobody is in flight.
    pub(super) fn record_start(&self) {
        let metrics = &self.args.metrics;
        metrics.clients_in_flight.set(0);
        let Some(latest) = &self.args.resume.latest else { return };
        // Round 0 is closed like any other.
        raise(&metrics.rounds, u64::from(latest.round) + 1);
        metrics.round.set(latest.round.into());
        raise_clients(&metrics.clients, &self.tally.clients);
        // A row written by another version may lack the gauges.
        if let Ok(row) = serde_json::from_str(&latest.row) {
            self.set_gauges(&row);
        }
    }

    fn set_gauges(&self, row: &RoundRow) {
        let metrics = &self.args.metrics;
        let gauges = [
            (&metrics.train_loss, row.train_loss),
            (&metrics.eval_loss, row.eval_loss),
            (&metrics.eval_loss_dense_copy, row.eval_loss_dense_copy),
            (&metrics.update_norm, row.update_norm),
        ];
        for (gauge, value) in gauges {
            if let Some(value) = value {
                gauge.set(value);
            }
        }
    }
}

/// Brings the counters of clients up to the run's outcomes so far. A round that is begun again counts its clients from 0, so their
/// outcomes in the abandoned opening are not counted twice.
pub(super) fn raise_clients(clients: &Clients, so_far: &Outcomes) {
    raise(&clients.completed, so_far.completed);
    raise(&clients.failed, so_far.failed);
    raise(&clients.late, so_far.late);
    raise(&clients.rejected, so_far.rejected);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn a_client_of_a_round_begun_again_is_counted_once() {
        let metrics = Metrics::new();
        let closed = Outcomes { completed: 8, ..Outcomes::default() };
        let mut open = Outcomes::default();
        for outcome in ["completed", "completed", "late"] {
            open.count(outcome);
            raise_clients(&metrics.clients, &closed.plus(&open));
        }
        let mut reopened = Outcomes::default();
        for outcome in ["completed", "rejected", "late", "completed"] {
            reopened.count(outcome);
            raise_clients(&metrics.clients, &closed.plus(&reopened));
        }
        let clients = &metrics.clients;
        let counted =
            [&clients.completed, &clients.failed, &clients.late, &clients.rejected].map(|counter| counter.get());
        assert_eq!(counted, [10, 0, 1, 1]);
    }

    #[test]
    fn a_counter_goes_on_from_the_journal_and_never_back() {
        let metrics = Metrics::new();
        raise(&metrics.rounds, 4);
        assert_eq!(metrics.rounds.get(), 4);
        raise(&metrics.rounds, 3);
        assert_eq!(metrics.rounds.get(), 4);
    }
}
