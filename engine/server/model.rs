//! The server's model: its dense copy, the server optimizer's step, the running mean.

use std::sync::Arc;

use super::ServerError;
use super::optimizer::ServerOptimizer;
use crate::aggregator::Aggregate;
use crate::compressor::Memories;
use crate::privacy;

/// The state that a round changes: the dense copy, the optimizer and the running mean.
#[derive(Clone)]
pub(super) struct Model {
    /// `W`, dense, `P` values: it keeps what a policy masks.
    pub weights: Arc<Vec<f32>>,
    pub optimizer: ServerOptimizer,
    /// The exponential moving average of the decoded broadcasts over rounds, `P` values; none without
    /// `server.ema_decay`.
    pub mean: Option<Arc<Vec<f32>>>,
}

/// The weight of round `round` in the running mean, where each round weighs `decay` times the next: `(1 - decay) / (1 -
/// decay^round)`, Polyak averaging with Adam's bias correction. The start of the run has no weight.
pub(super) fn ema_share(decay: f32, round: u32) -> f32 {
    let weights = (1..round).fold(1.0, |sum, _| sum * f64::from(decay) + 1.0);
    (1.0 / weights) as f32
}

/// The mean with one more summand: `mean + share * (newest - mean)`.
pub(super) fn ema(mean: &[f32], newest: &[f32], share: f32) -> Vec<f32> {
    assert_eq!(mean.len(), newest.len(), "both are of one layout");
    mean.iter().zip(newest).map(|(mean, newest)| mean + share * (newest - mean)).collect()
}

/// Gaussian noise that the server adds to the aggregate of a round.
#[derive(Debug, Clone, Copy)]
pub(super) struct Noise {
    pub deviation: f64,
    pub seed: u64,
}

/// The server's model after a step.
pub(super) struct Stepped {
    pub model: Model,
    /// L2 norm of the aggregated update.
    pub norm: f64,
    /// The server's memories after the round.
    pub memories: Memories,
}

/// FLASC Alg. 1, server side: the server optimizer moves the dense copy by the mean delta, unless the aggregation
/// policy has stepped itself. Costs a copy of the model; for a blocking thread.
pub(super) fn step(
    model: &Model,
    aggregate: Aggregate,
    noise: Option<Noise>,
    round: u32,
) -> Result<Stepped, ServerError> {
    let Aggregate { mut update, stepped, memories } = aggregate;
    let mut model = model.clone();
    if let Some(Noise { deviation, seed }) = noise {
        let stream = privacy::noise_stream(seed, round, None);
        privacy::perturb(Arc::<Vec<f32>>::make_mut(&mut update), deviation, stream);
    }
    check_finite("the aggregate", &update, round)?;
    match stepped {
        Some(weights) => model.weights = weights,
        None => {
            let weights = Arc::make_mut(&mut model.weights).as_mut_slice();
            model.optimizer.step(weights, &update);
        }
    }
    check_finite("the server's dense copy", &model.weights, round)?;
    check_finite("the server optimizer's state", model.optimizer.moments(), round)?;
    let norm = update.iter().map(|value| f64::from(*value) * f64::from(*value)).sum::<f64>().sqrt();
    Ok(Stepped { model, norm, memories })
}

fn check_finite(what: &'static str, values: &[f32], round: u32) -> Result<(), ServerError> {
    let count = values.iter().filter(|value| !value.is_finite()).count();
    if count > 0 { Err(ServerError::NotFinite { round, what, count }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::Config;

    #[test]
    fn a_step_beyond_all_numbers_is_an_error_that_names_what_went_there() {
        let model = |lr| Model {
            weights: Arc::new(vec![1.0, 2.0]),
            optimizer: ServerOptimizer::new(&Config { lr, momentum: 0.5, ..Config::default() }, 2),
            mean: None,
        };
        let of = |values: [f32; 2]| Aggregate {
            update: Arc::new(values.into()),
            stepped: None,
            memories: Memories::default(),
        };
        let stepped = step(&model(1.0), of([3.0, 4.0]), None, 7).map_err(|error| error.to_string()).unwrap();
        assert_eq!((stepped.norm, stepped.model.weights.to_vec()), (5.0, vec![4.0, 6.0]));
        let text = |lr, values| step(&model(lr), of(values), None, 7).map(|_| ()).unwrap_err().to_string();
        assert_eq!(text(1.0, [f32::NAN, 1.0]), "round 7: the aggregate has 1 values that are not finite");
        assert_eq!(text(1e30, [3e38, 3e38]), "round 7: the server's dense copy has 2 values that are not finite");
    }

    #[test]
    fn the_mean_weighs_each_round_by_its_age_and_forgets_the_start() {
        let rounds = [[3.0, 0.0], [1.0, -1.0], [4.0, 8.0], [1.0, 0.5]];
        for decay in [0.0, 0.5, 0.9_f32] {
            let mut mean = ema(&[0.0, 0.0], &[100.0, -100.0], ema_share(decay, 0));
            for (round, newest) in (1..).zip(&rounds) {
                mean = ema(&mean, newest, ema_share(decay, round));
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
