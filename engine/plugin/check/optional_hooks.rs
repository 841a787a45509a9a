//! The optional hooks, beyond what every round asks of them: which share is trained, a refused upload, missed rounds.

use std::sync::Arc;

use super::Finding;
use super::accepted_inputs::AcceptedInputs;
use crate::plugin::simulation::{Simulation, StepFailure};
use crate::policy::Policy;

pub(super) fn findings(policy: &Arc<Policy>, accepted: &AcceptedInputs) -> Vec<Finding> {
    let mut all = Vec::new();
    let text = |result: Result<String, StepFailure>| result.map_err(String::from);
    if policy.plans() {
        all.push(Finding::new("plans", text(plans(policy, accepted))));
    }
    if policy.acknowledges() {
        all.push(Finding::new("takes a refusal", text(refused(policy, accepted))));
    }
    if policy.catches_up() {
        all.push(Finding::new("catches up", text(catches_up(policy, accepted))));
    }
    all
}

fn plans(policy: &Arc<Policy>, accepted: &AcceptedInputs) -> Result<String, StepFailure> {
    let mut shares = Vec::new();
    for adapter in &accepted.adapters {
        let mut simulation = Simulation::new(policy, adapter, &accepted.setups()[0])?;
        for noise in 1..=2 {
            simulation.round(noise)?;
        }
        let weights = simulation.state.weights.clone();
        simulation.state.round += 1;
        let message = simulation.broadcast(&weights)?;
        let received = simulation.receive(message)?;
        let trained = simulation.plan(&received)?.map_or(adapter.values(), |plan| plan.len());
        shares.push(format!("{trained} of {}", adapter.values()));
    }
    Ok(format!("in round 3, trains {}", shares.join(", ")))
}

/// A round whose upload is refused: what the client's hooks wrote in it is gone, and the next one goes well.
fn refused(policy: &Arc<Policy>, accepted: &AcceptedInputs) -> Result<String, StepFailure> {
    for adapter in &accepted.adapters {
        let mut simulation = Simulation::new(policy, adapter, &accepted.setups()[0])?;
        simulation.round(1)?;
        let before = simulation.state.clone();
        simulation.round(2)?;
        simulation.state = before;
        simulation.state.round += 1;
        simulation.acknowledge(false)?;
        simulation.round(3)?;
    }
    Ok("an upload that is refused, and the round after it".into())
}

/// A client that was there in round 1 and is asked again in round 5, and one that was never there.
fn catches_up(policy: &Arc<Policy>, accepted: &AcceptedInputs) -> Result<String, StepFailure> {
    let mut sent = Vec::new();
    for adapter in &accepted.adapters {
        for there_before in [true, false] {
            let mut simulation = Simulation::new(policy, adapter, &accepted.setups()[0])?;
            for noise in 1..=4 {
                if there_before && noise == 1 {
                    simulation.round(noise)?;
                } else {
                    simulation.round_without_client(noise)?;
                }
            }
            simulation.state.round += 1;
            let outgoing = simulation.outgoing();
            let message = simulation.broadcast(&outgoing)?;
            let bytes = simulation.catch_up()?;
            sent.push(bytes.map_or_else(|| "nothing".into(), |bytes| format!("{bytes} bytes")));
            let received = simulation.receive(message)?;
            let delta = simulation.train(&received, 5)?;
            let message = simulation.upload(&delta)?;
            simulation.collect(message, &delta)?;
        }
    }
    let last = sent.split_off(sent.len().saturating_sub(2));
    Ok(format!("after three missed rounds {}, for a newcomer {}", last[0], last[1]))
}
