//! The server's dense copy, the step that an aggregate makes, and the mean of what came of the steps.

use std::sync::Arc;

use super::ServerError;
use super::optimizer::ServerOptimizer;
use crate::aggregator::Aggregate;

/// The server's dense copy, its optimizer and the running mean: what a round changes.
#[derive(Clone)]
pub(super) struct Model {
    /// `W`, dense: it never forgets what a policy masks.
    pub weights: Arc<Vec<f32>>,
    pub optimizer: ServerOptimizer,
    /// The mean of what clients would see after each round, the later the heavier; none without `server.ema_decay`.
    pub mean: Option<Arc<Vec<f32>>>,
}

/// How much of the mean is the `round`-th of its summands, where each weighs `decay` times the next (Polyak averaging with
/// Adam's bias correction: `(1 - decay) / (1 - decay^round)`). What was there before the first round is no summand.
pub(super) fn share_of_mean(decay: f32, round: u32) -> f32 {
    let weights = (1..round).fold(1.0, |sum, _| sum * f64::from(decay) + 1.0);
    (1.0 / weights) as f32
}

/// The mean with one summand more.
pub(super) fn averaged(mean: &[f32], newest: &[f32], share: f32) -> Vec<f32> {
    assert_eq!(mean.len(), newest.len(), "both are of one layout");
    mean.iter().zip(newest).map(|(mean, newest)| mean + share * (newest - mean)).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_weighs_each_round_by_its_age_and_forgets_the_start() {
        let rounds = [[3.0, 0.0], [1.0, -1.0], [4.0, 8.0], [1.0, 0.5]];
        for decay in [0.0, 0.5, 0.9_f32] {
            let mut mean = averaged(&[0.0, 0.0], &[100.0, -100.0], share_of_mean(decay, 0));
            for (round, newest) in (1..).zip(&rounds) {
                mean = averaged(&mean, newest, share_of_mean(decay, round));
            }
            for (at, mean) in mean.iter().enumerate() {
                let weights = [3, 2, 1, 0].map(|age| decay.powi(age));
                let sum: f32 = rounds.iter().zip(weights).map(|(values, weight)| weight * values[at]).sum();
                let expected = sum / weights.iter().sum::<f32>();
                assert!((mean - expected).abs() < 1e-5, "{decay}: {mean} is not {expected}");
            }
        }
    }
}
