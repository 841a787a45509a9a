//! What the server writes to the metrics: a closed round, and where a run stands that goes on.

use super::round_row::RoundRow;
use super::state::ServerState;
use crate::metrics::raise;

impl ServerState {
    /// A round that has just been closed.
    pub(super) fn record_round(&self, row: &RoundRow) {
        let metrics = &self.args.metrics;
        metrics.round_closed(row.round, row.seconds);
        let losses = [row.train_loss, row.eval_loss, row.eval_loss_dense_copy, row.update_norm];
        metrics.loss_not_finite.inc_by(losses.iter().flatten().filter(|value| !value.is_finite()).count() as u64);
        self.gauge(row);
    }

    /// Counters (but of bytes) and gauges of a server that begins: none counts less than the journal has, and nobody is in flight.
    pub(super) fn record_start(&self) {
        let metrics = &self.args.metrics;
        metrics.clients_in_flight.set(0);
        let Some(latest) = &self.args.resume.latest else { return };
        // Round 0 is closed like any other.
        raise(&metrics.rounds, u64::from(latest.round) + 1);
        metrics.round.set(latest.round.into());
        let clients = &self.tally.clients;
        raise(&metrics.clients.completed, clients.completed);
        raise(&metrics.clients.failed, clients.failed);
        raise(&metrics.clients.late, clients.late);
        raise(&metrics.clients.rejected, clients.rejected);
        // A row that another version wrote has no gauges here.
        if let Ok(row) = serde_json::from_str(&latest.row) {
            self.gauge(&row);
        }
    }

    fn gauge(&self, row: &RoundRow) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn a_counter_goes_on_from_the_journal_and_never_back() {
        let metrics = Metrics::new();
        raise(&metrics.rounds, 4);
        assert_eq!(metrics.rounds.get(), 4);
        raise(&metrics.rounds, 3);
        assert_eq!(metrics.rounds.get(), 4);
    }
}
