//! The metric that runs are compared by: its value in a row, its direction and its names.

use serde::Deserialize;

use super::run::{Row, Run};

/// The number by which methods are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EvaluationMetric {
    /// `eval_loss`: nats a prediction (of a token or of a class); lower is better.
    #[default]
    Loss,
    /// `eval_metric` as a share of right answers; higher is better.
    Accuracy,
}

impl EvaluationMetric {
    /// Its value in a row; none where the round was not evaluated.
    pub fn value(self, row: &Row) -> Option<f64> {
        match self {
            Self::Loss => row.eval_loss,
            Self::Accuracy => row.eval_metric,
        }
    }

    /// True where `one` is strictly better than `other`.
    pub fn is_better(self, one: f64, other: f64) -> bool {
        match self {
            Self::Loss => one < other,
            Self::Accuracy => one > other,
        }
    }

    /// The first value of a run and the last after a round; none where nothing was evaluated after a round.
    pub fn first_and_last(self, run: &Run) -> Option<(f64, f64)> {
        run.first_and_last(|row| self.value(row))
    }

    /// Its name with its unit, as an axis has it.
    pub fn axis_label(self) -> &'static str {
        match self {
            Self::Loss => "validation loss (nats a prediction)",
            Self::Accuracy => "validation accuracy (share right)",
        }
    }

    /// Its name in a sentence.
    pub fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Accuracy => "accuracy",
        }
    }
}
