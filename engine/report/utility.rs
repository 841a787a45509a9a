//! What an evaluation is worth: which number of a row counts, and which of two is better.

use serde::Deserialize;

use super::run::{Row, Run};

/// The number by which methods are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Utility {
    /// `eval_loss`: nats a prediction (of a token or of a class); lower is better.
    #[default]
    Loss,
    /// `eval_metric` as a share of right answers; higher is better.
    Accuracy,
}

impl Utility {
    /// Its value in a row; none where the round was not evaluated.
    pub fn of(self, row: &Row) -> Option<f64> {
        match self {
            Self::Loss => row.eval_loss,
            Self::Accuracy => row.eval_metric,
        }
    }

    /// Whether `one` is strictly better than `other`.
    pub fn better(self, one: f64, other: f64) -> bool {
        match self {
            Self::Loss => one < other,
            Self::Accuracy => one > other,
        }
    }

    /// The first value of a run and the last after a round; none where nothing was evaluated after a round.
    pub fn ends(self, run: &Run) -> Option<(f64, f64)> {
        run.ends(|row| self.of(row))
    }

    /// Its name with its unit, as an axis has it.
    pub fn axis(self) -> &'static str {
        match self {
            Self::Loss => "validation loss (nats a prediction)",
            Self::Accuracy => "validation accuracy (share right)",
        }
    }

    /// Its name in a sentence.
    pub fn word(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Accuracy => "accuracy",
        }
    }
}
