//! The evaluation of a broadcast: its decoded values and, where asked for, the server's dense copy in; losses and accuracies out.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::ServerError;
use super::broadcast::Broadcast;
use crate::trainer::{Evaluated, OnEvaluated, Trainers};

/// An evaluation that may be due, and the listener to its progress.
pub(super) struct Evaluation {
    /// The closed round.
    pub round: u32,
    /// True where its broadcast is to be evaluated.
    pub evaluate: bool,
    /// True where it is to be evaluated if no round follows it.
    pub evaluate_end: bool,
    /// The server's dense copy, where it is to be evaluated too.
    pub dense_copy: Option<Arc<Vec<f32>>>,
    /// Called with the records through so far and with all of them.
    pub on_evaluated: OnEvaluated,
    /// Set when the result is no longer wanted.
    pub cancel: Arc<AtomicBool>,
}

impl Evaluation {
    /// Fills in the evaluation of the broadcast, where it is due.
    pub async fn evaluate(&self, broadcast: &mut Broadcast, trainers: &Trainers) -> Result<(), ServerError> {
        let due = self.evaluate || (self.evaluate_end && broadcast.over_budget.is_some());
        if !due {
            return Ok(());
        }
        broadcast.result_evaluated = self.on_validation(&broadcast.result, trainers).await?;
        broadcast.dense_evaluated = match &self.dense_copy {
            None => None,
            Some(dense_copy) if broadcast.result == *dense_copy => broadcast.result_evaluated,
            Some(dense_copy) => self.on_validation(dense_copy, trainers).await?,
        };
        Ok(())
    }

    /// Validation loss and accuracy of `weights`; none where the validation data has no token to predict.
    async fn on_validation(
        &self,
        weights: &Arc<Vec<f32>>,
        trainers: &Trainers,
    ) -> Result<Option<Evaluated>, ServerError> {
        let round = self.round;
        let evaluated = trainers.evaluate(weights.clone(), self.cancel.clone(), &self.on_evaluated).await;
        let evaluated = evaluated.map_err(|source| ServerError::Pool { round, source })?;
        let evaluated = evaluated.map_err(|source| ServerError::Evaluate { round, source })?;
        Ok((evaluated.tokens > 0).then_some(evaluated))
    }
}
