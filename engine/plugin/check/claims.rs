//! What a policy promises by its capabilities, measured on uploads with the most bits: a promise is about the method, not
//! about how coarse its values are.

use std::sync::Arc;

use super::Finding;
use super::taken::Taken;
use crate::plugin::samples::{distance, norm};
use crate::plugin::trial::{Fault, Trial};
use crate::policy::{Direction, Policy};

/// Messages with seeds of their own behind the test of unbiasedness.
const DRAWS: usize = 256;
/// What rounding of values on the wire may bring, relative.
const ROUNDING: f64 = 5e-3;

pub(super) fn findings(policy: &Arc<Policy>, taken: &Taken) -> Vec<Finding> {
    let mut all = Vec::new();
    if policy.capabilities.linear {
        all.push(Finding::new("linear, as it says", linear(policy, taken)));
    }
    if policy.capabilities.unbiased {
        all.push(Finding::new("unbiased, as it says", unbiased(policy, taken)));
    }
    all
}

/// A client that has received what the first round brings.
fn ready<'a>(policy: &Arc<Policy>, taken: &'a Taken) -> Result<(Trial<'a>, Arc<Vec<f32>>), String> {
    let mut trial =
        Trial::new(policy, taken.largest(), &taken.setups()[0]).map_err(|error| Fault::from(error).reason)?;
    trial.state.round = 1;
    let outgoing = trial.outgoing();
    let message = trial.broadcast(&outgoing).map_err(String::from)?;
    let received = trial.receive(message).map_err(String::from)?;
    Ok((trial, received))
}

/// What arrives of a delta; the state is as before afterwards.
fn send(trial: &mut Trial<'_>, delta: &Arc<Vec<f32>>) -> Result<Arc<Vec<f32>>, String> {
    let before = trial.state.clone();
    let context = trial.context(Direction::Upload);
    let sent = match trial.upload(delta)? {
        Some(message) => Some(trial.travel(&context, &message)?.1),
        None => None,
    };
    let arrived = trial.collect(sent, delta)?;
    trial.state = before;
    Ok(arrived)
}

/// The mean of two decoded messages against the decoded mean.
fn linear(policy: &Arc<Policy>, taken: &Taken) -> Result<String, String> {
    let (mut trial, received) = ready(policy, taken)?;
    let before = trial.state.clone();
    let a = trial.train(&received, 1)?;
    let after = trial.state.clone();
    trial.state = before;
    let b = trial.train(&received, 2)?;
    trial.state = after;
    let mean = |a: &[f32], b: &[f32]| -> Vec<f32> { a.iter().zip(b).map(|(a, b)| (a + b) / 2.0).collect() };
    let of_decoded = mean(&send(&mut trial, &a)?, &send(&mut trial, &b)?);
    let decoded = send(&mut trial, &Arc::new(mean(&a, &b)))?;
    let apart = distance(&of_decoded, &decoded) / norm(&of_decoded).max(norm(&decoded)).max(f64::MIN_POSITIVE);
    let seen = format!("the mean of two decoded deltas and the decoded mean are {apart:.1e} of their norm apart");
    if apart <= ROUNDING { Ok(seen) } else { Err(format!("{seen}, limit {ROUNDING:.0e}")) }
}

/// The mean of many decodings of one delta, each under a seed of its own, against the delta.
fn unbiased(policy: &Arc<Policy>, taken: &Taken) -> Result<String, String> {
    let (mut trial, received) = ready(policy, taken)?;
    let delta = trial.train(&received, 1)?;
    let (mut sum, mut squares) = (vec![0.0_f64; delta.len()], 0.0);
    for seed in 0..DRAWS {
        trial.seed = seed as u64 + 1;
        let arrived = send(&mut trial, &delta)?;
        for ((sum, arrived), value) in sum.iter_mut().zip(arrived.iter()).zip(delta.iter()) {
            let error = f64::from(*arrived) - f64::from(*value);
            *sum += error;
            squares += error * error;
        }
    }
    // Of an unbiased encoder, the squared norm of the mean error is about 1/n of a single squared error.
    let draws = DRAWS as f64;
    let bias = sum.iter().map(|sum| (sum / draws).powi(2)).sum::<f64>().sqrt();
    let size = norm(&delta).max(f64::MIN_POSITIVE);
    let limit = 1.5 * (squares / draws / draws).sqrt() + ROUNDING * size;
    let seen =
        format!("mean error of {DRAWS} messages {:.1e} of the norm, chance allows {:.1e}", bias / size, limit / size);
    if bias <= limit { Ok(seen) } else { Err(seen) }
}
