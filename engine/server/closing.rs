//! The server's dense copy, and the step that an aggregate makes.

use std::sync::Arc;

use super::ServerError;
use super::optimizer::ServerOptimizer;
use crate::aggregator::Aggregate;

/// The server's dense copy and its optimizer: what a round changes.
#[derive(Clone)]
pub(super) struct Model {
    /// `W`, dense: it never forgets what a policy masks.
    pub weights: Arc<Vec<f32>>,
    pub optimizer: ServerOptimizer,
}

/// FLASC Alg. 1, server side: the optimizer moves the dense copy by the mean delta, or the aggregation policy has done so.
/// Returns the norm of the update.
pub(super) fn step(model: &mut Model, aggregate: Aggregate, round: u32) -> Result<f64, ServerError> {
    let Aggregate { update, stepped, .. } = aggregate;
    finite(&update, round)?;
    match stepped {
        Some(weights) => {
            finite(&weights, round)?;
            model.weights = Arc::new(weights);
        }
        None => model.optimizer.step(Arc::make_mut(&mut model.weights).as_mut_slice(), &update),
    }
    Ok(update.iter().map(|value| f64::from(*value) * f64::from(*value)).sum::<f64>().sqrt())
}

fn finite(values: &[f32], round: u32) -> Result<(), ServerError> {
    let count = values.iter().filter(|value| !value.is_finite()).count();
    if count > 0 { Err(ServerError::NotFinite { round, count }) } else { Ok(()) }
}
