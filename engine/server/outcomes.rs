//! Outcomes of clients and rounds so far. They lie in the journal beside the byte ledger, so a resumed run counts on.

use serde::{Deserialize, Serialize};

/// Clients that were asked, by outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Outcomes {
    /// Clients whose update was accepted, also in a round that missed its quorum.
    pub completed: u64,
    /// Clients whose training, policy or actor failed.
    pub failed: u64,
    /// Clients that did not answer before the deadline.
    pub late: u64,
    /// Clients whose update was refused by the server or the aggregator.
    pub rejected: u64,
}

impl Outcomes {
    /// Counts one client by the name of its outcome.
    pub fn count(&mut self, outcome: &str) {
        match outcome {
            "completed" => self.completed += 1,
            "late" => self.late += 1,
            "rejected" => self.rejected += 1,
            _ => self.failed += 1,
        }
    }

    /// Both counts together.
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            completed: self.completed + other.completed,
            failed: self.failed + other.failed,
            late: self.late + other.late,
            rejected: self.rejected + other.rejected,
        }
    }

    /// Clients whose update is in no aggregate.
    pub fn dropped(&self) -> u64 {
        self.failed + self.late + self.rejected
    }
}

/// Outcomes of all closed rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    /// Clients, by outcome.
    pub clients: Outcomes,
    /// Rounds that missed their quorum.
    pub missed: u32,
    /// Missed rounds since the last round that reached its quorum.
    pub missed_in_a_row: u32,
}

impl Tally {
    /// Adds a closed round; `counts` where it reached its quorum.
    pub fn add(&mut self, clients: &Outcomes, counts: bool) {
        self.clients = self.clients.plus(clients);
        self.missed += u32::from(!counts);
        self.missed_in_a_row = if counts { 0 } else { self.missed_in_a_row + 1 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_add_up_and_one_that_counts_ends_a_row_of_misses() {
        let mut of_round = Outcomes::default();
        for outcome in ["completed", "late", "rejected", "failed", "failed"] {
            of_round.count(outcome);
        }
        assert_eq!((of_round.completed, of_round.dropped()), (1, 4));
        let mut tally = Tally::default();
        for counts in [false, true, false, false] {
            tally.add(&of_round, counts);
        }
        assert_eq!((tally.missed, tally.missed_in_a_row, tally.clients.failed), (3, 2, 8));
        let text = serde_json::json!(tally).to_string();
        assert_eq!(serde_json::from_str::<Tally>(&text).unwrap(), tally);
        assert_eq!(serde_json::from_str::<Tally>("{}").unwrap(), Tally::default(), "a run of an older build");
    }
}
