//! Checks of the capabilities that a policy declares (linear, unbiased), on uploads with the most bits: a capability
//! is about the method, not about how coarse its values are.

use std::sync::Arc;

use super::Finding;
use super::accepted_inputs::AcceptedInputs;
use crate::plugin::simulation::{Simulation, StepFailure};
use crate::plugin::synthetic::{distance, norm};
use crate::policy::{Direction, Policy};

/// Messages with seeds of their own behind the test of unbiasedness.
const DRAWS: usize = 256;
/// Largest relative error that rounding of values on the wire explains.
const ROUNDING: f64 = 5e-3;

pub(super) fn findings(policy: &Arc<Policy>, accepted: &AcceptedInputs) -> Vec<Finding> {
    let mut all = Vec::new();
    if policy.capabilities.linear {
        all.push(Finding::new("linear, as it says", linear(policy, accepted)));
    }
    if policy.capabilities.unbiased {
        all.push(Finding::new("unbiased, as it says", unbiased(policy, accepted)));
    }
    all
}

/// A client that has received what the first round brings.
fn after_first_download<'a>(
    policy: &Arc<Policy>,
    accepted: &'a AcceptedInputs,
) -> Result<(Simulation<'a>, Arc<Vec<f32>>), String> {
    let mut simulation = Simulation::new(policy, accepted.largest(), &accepted.setups()[0])
        .map_err(|error| StepFailure::from(error).reason)?;
    simulation.state.round = 1;
    let outgoing = simulation.outgoing();
    let message = simulation.broadcast(&outgoing).map_err(String::from)?;
    let received = simulation.receive(message).map_err(String::from)?;
    Ok((simulation, received))
}

/// The decoded upload of a delta. The simulation's state is as before afterwards.
fn upload_once(simulation: &mut Simulation<'_>, delta: &Arc<Vec<f32>>) -> Result<Arc<Vec<f32>>, String> {
    let before = simulation.state.clone();
    let context = simulation.context(Direction::Upload);
    let sent = match simulation.upload(delta)? {
        Some(message) => Some(simulation.through_wire(&context, &message)?.1),
        None => None,
    };
    let arrived = simulation.collect(sent, delta)?;
    simulation.state = before;
    Ok(arrived)
}

/// The mean of two decoded messages against the decoded mean.
fn linear(policy: &Arc<Policy>, accepted: &AcceptedInputs) -> Result<String, String> {
    let (mut simulation, received) = after_first_download(policy, accepted)?;
    let before = simulation.state.clone();
    let a = simulation.train(&received, 1)?;
    let after = simulation.state.clone();
    simulation.state = before;
    let b = simulation.train(&received, 2)?;
    simulation.state = after;
    let mean = |a: &[f32], b: &[f32]| -> Vec<f32> { a.iter().zip(b).map(|(a, b)| (a + b) / 2.0).collect() };
    let of_decoded = mean(&upload_once(&mut simulation, &a)?, &upload_once(&mut simulation, &b)?);
    let decoded = upload_once(&mut simulation, &Arc::new(mean(&a, &b)))?;
    let apart = distance(&of_decoded, &decoded) / norm(&of_decoded).max(norm(&decoded)).max(f64::MIN_POSITIVE);
    let seen = format!("the mean of two decoded deltas and the decoded mean are {apart:.1e} of their norm apart");
    if apart <= ROUNDING { Ok(seen) } else { Err(format!("{seen}, limit {ROUNDING:.0e}")) }
}

/// The mean of many decodings of one delta, each under a seed of its own, against the delta.
fn unbiased(policy: &Arc<Policy>, accepted: &AcceptedInputs) -> Result<String, String> {
    let (mut simulation, received) = after_first_download(policy, accepted)?;
    let delta = simulation.train(&received, 1)?;
    let (mut sum, mut squares) = (vec![0.0_f64; delta.len()], 0.0);
    for seed in 0..DRAWS {
        simulation.seed = seed as u64 + 1;
        let arrived = upload_once(&mut simulation, &delta)?;
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
