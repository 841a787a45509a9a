//! How clients and rounds ended so far. It lies in the journal beside the bytes, so it goes on where a run does.

use serde::{Deserialize, Serialize};

/// Clients that were asked, by how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Outcomes {
    /// Its update is in the aggregate, or would be if the round counted.
    pub completed: u64,
    /// Its training, its policy or its actor failed.
    pub failed: u64,
    /// It did not answer before the deadline.
    pub late: u64,
    /// Its update was not acceptable.
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

    /// Clients whose update is in no aggregate.
    pub fn dropped(&self) -> u64 {
        self.failed + self.late + self.rejected
    }
}

/// What all closed rounds add up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    /// Clients, by how it ended.
    pub clients: Outcomes,
    /// Rounds that missed their quorum.
    pub missed: u32,
    /// Of these the last so many, without one that counted after them.
    pub missed_in_a_row: u32,
}

impl Tally {
    /// Adds a round that is over.
    pub fn add(&mut self, clients: &Outcomes, counts: bool) {
        self.clients.completed += clients.completed;
        self.clients.failed += clients.failed;
        self.clients.late += clients.late;
        self.clients.rejected += clients.rejected;
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
