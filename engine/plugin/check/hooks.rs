//! The optional hooks, beyond what every round asks of them: which share is trained, a refused upload, missed rounds.

use std::sync::Arc;

use super::Finding;
use super::taken::Taken;
use crate::plugin::trial::{Fault, Trial};
use crate::policy::Policy;

pub(super) fn findings(policy: &Arc<Policy>, taken: &Taken) -> Vec<Finding> {
    let mut all = Vec::new();
    let text = |result: Result<String, Fault>| result.map_err(String::from);
    if policy.plans() {
        all.push(Finding::new("plans", text(plans(policy, taken))));
    }
    if policy.acknowledges() {
        all.push(Finding::new("takes a refusal", text(refused(policy, taken))));
    }
    if policy.catches_up() {
        all.push(Finding::new("catches up", text(catches_up(policy, taken))));
    }
    all
}

fn plans(policy: &Arc<Policy>, taken: &Taken) -> Result<String, Fault> {
    let mut shares = Vec::new();
    for adapter in &taken.adapters {
        let mut trial = Trial::new(policy, adapter, &taken.setups()[0])?;
        for noise in 1..=2 {
            trial.round(noise)?;
        }
        let weights = trial.state.weights.clone();
        trial.state.round += 1;
        let message = trial.broadcast(&weights)?;
        let received = trial.receive(message)?;
        let trained = trial.plan(&received)?.map_or(adapter.values(), |plan| plan.len());
        shares.push(format!("{trained} of {}", adapter.values()));
    }
    Ok(format!("in round 3, trains {}", shares.join(", ")))
}

/// A round whose upload is refused: what the client's hooks wrote in it is gone, and the next one goes well.
fn refused(policy: &Arc<Policy>, taken: &Taken) -> Result<String, Fault> {
    for adapter in &taken.adapters {
        let mut trial = Trial::new(policy, adapter, &taken.setups()[0])?;
        trial.round(1)?;
        let before = trial.state.clone();
        trial.round(2)?;
        trial.state = before;
        trial.state.round += 1;
        trial.acknowledge(false)?;
        trial.round(3)?;
    }
    Ok("an upload that is refused, and the round after it".into())
}

/// A client that was there in round 1 and is asked again in round 5, and one that was never there.
fn catches_up(policy: &Arc<Policy>, taken: &Taken) -> Result<String, Fault> {
    let mut sent = Vec::new();
    for adapter in &taken.adapters {
        for there_before in [true, false] {
            let mut trial = Trial::new(policy, adapter, &taken.setups()[0])?;
            for noise in 1..=4 {
                if there_before && noise == 1 {
                    trial.round(noise)?;
                } else {
                    trial.round_without(noise)?;
                }
            }
            trial.state.round += 1;
            let outgoing = trial.outgoing();
            let message = trial.broadcast(&outgoing)?;
            let bytes = trial.catch_up()?;
            sent.push(bytes.map_or_else(|| "nothing".into(), |bytes| format!("{bytes} bytes")));
            let received = trial.receive(message)?;
            let delta = trial.train(&received, 5)?;
            let message = trial.upload(&delta)?;
            trial.collect(message, &delta)?;
        }
    }
    let last = sent.split_off(sent.len().saturating_sub(2));
    Ok(format!("after three missed rounds {}, for a newcomer {}", last[0], last[1]))
}
