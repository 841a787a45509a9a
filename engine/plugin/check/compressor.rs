//! The rules for compressors.

use std::sync::Arc;

use serde_json::Map;

use super::accepted_inputs::{AcceptedInputs, accepted, description};
use super::{Finding, LARGE, capabilities, damaged_messages, optional_hooks};
use crate::plugin::simulation::{Simulation, SimulationSetup, Trace};
use crate::plugin::synthetic::{Adapter, delta};
use crate::policy::{Content, Entries, Policy};

const DENSITIES: [f64; 3] = [1.0, 0.25, 1.0 / 256.0];

pub(super) fn findings(policy: &Arc<Policy>) -> Vec<Finding> {
    let (accepted, seen) = match accepted(policy) {
        Ok(accepted) => accepted,
        Err(reason) => return vec![Finding::new("starts", Err(reason))],
    };
    let mut all = vec![Finding::new("starts", Ok(seen))];
    let rounds = rounds(policy, &accepted);
    let broken = rounds.is_err();
    all.push(Finding::new("sends and receives", rounds));
    if broken {
        return all;
    }
    all.extend(alone(policy, &accepted));
    all.extend(differences(policy, &accepted));
    all.push(Finding::new("options", options(policy, &accepted)));
    all.push(Finding::new("repeats itself", repeats(policy, &accepted)));
    all.push(Finding::new("remembers only what it saves", remembers(policy, &accepted)));
    all.push(Finding::new("refuses damaged messages", damaged_messages::findings(policy, &accepted)));
    all.push(Finding::new("survives strange values", strange_values(policy, &accepted)));
    all.extend(capabilities::findings(policy, &accepted));
    all.extend(optional_hooks::findings(policy, &accepted));
    all
}

/// Three rounds of a fresh simulation.
fn three_rounds(policy: &Arc<Policy>, adapter: &Adapter, setup: &SimulationSetup) -> Result<Vec<Trace>, String> {
    let mut simulation = Simulation::new(policy, adapter, setup).map_err(|error| error.to_string())?;
    (1..=3).map(|noise| simulation.round(noise).map_err(String::from)).collect()
}

fn rounds(policy: &Arc<Policy>, accepted: &AcceptedInputs) -> Result<String, String> {
    let mut count = 0;
    for adapter in &accepted.adapters {
        for setup in accepted.setups() {
            for density in DENSITIES {
                let setup = SimulationSetup { density, ..setup.clone() };
                let traces = three_rounds(policy, adapter, &setup);
                count += traces.map_err(|reason| format!("{}: {reason}", description(adapter, &setup)))?.len();
            }
        }
    }
    Ok(format!("{count} rounds, each from the server to a client and back"))
}

/// A note on uploads beside another policy's downloads: they work, or need the policy's own.
fn alone(policy: &Arc<Policy>, accepted: &AcceptedInputs) -> Option<Finding> {
    let setup = accepted.setups().into_iter().next().filter(|setup| setup.down.is_some() && setup.up.is_some())?;
    let alone = SimulationSetup { down: None, ..setup };
    let seen = match three_rounds(policy, accepted.largest(), &alone) {
        Ok(_) => "uploads work beside any policy of downloads".into(),
        Err(reason) => format!("uploads need its own downloads: {reason}"),
    };
    Some(Finding::note("alone", seen))
}

/// The check of `download.error_feedback`, where a download holds the difference of the weights to the reference.
fn differences(policy: &Arc<Policy>, accepted: &AcceptedInputs) -> Option<Finding> {
    let setup = accepted.setups().into_iter().next().filter(|setup| setup.down.is_some())?;
    let setup = SimulationSetup { content: Content::Difference, ..setup };
    let mut simulation = Simulation::new(policy, accepted.largest(), &setup).ok()?;
    for noise in 1..=3 {
        match simulation.round(noise) {
            Ok(_) => {}
            Err(fault) if fault.typed && !simulation.poisoned() => {
                return Some(Finding::note("differences", format!("refused: {}", fault.reason)));
            }
            Err(fault) => return Some(Finding::new("differences", Err(fault.reason))),
        }
    }
    Some(Finding::new("differences", Ok("three rounds with error feedback on the way down".into())))
}

fn options(policy: &Arc<Policy>, accepted: &AcceptedInputs) -> Result<String, String> {
    let adapter = accepted.largest();
    let (mut count, mut refused) = (0, 0);
    for (name, edges) in policy.option_edges() {
        for value in edges {
            let options = Map::from_iter([(name.to_owned(), value.clone())]);
            for setup in accepted.setups() {
                let setup = SimulationSetup { options: options.clone(), ..setup };
                let large = value.as_f64().is_some_and(|number| number.abs() >= LARGE);
                let result = Simulation::new(policy, adapter, &setup)
                    .map_err(Into::into)
                    .and_then(|mut simulation| if large { Ok(Vec::new()) } else { simulation.round(1) });
                match result {
                    Ok(_) => count += 1,
                    Err(fault) if fault.typed => refused += 1,
                    Err(fault) => {
                        return Err(format!("{name} = {value}, {}: {}", description(adapter, &setup), fault.reason));
                    }
                }
            }
        }
    }
    if policy.options.is_empty() {
        return Ok("it has none".into());
    }
    Ok(format!("{count} values at the edges work, {refused} are refused"))
}

fn repeats(policy: &Arc<Policy>, accepted: &AcceptedInputs) -> Result<String, String> {
    for setup in accepted.setups() {
        let run = || three_rounds(policy, accepted.largest(), &setup);
        if run()? != run()? {
            return Err(format!("two fresh runs differ, {}", description(accepted.largest(), &setup)));
        }
    }
    Ok("three rounds, twice, the same bytes and values".into())
}

/// Checks that an instance keeps nothing that its memory does not have: that is lost when the instance goes, and
/// wrong when a round is taken back.
fn remembers(policy: &Arc<Policy>, accepted: &AcceptedInputs) -> Result<String, String> {
    let adapter = accepted.largest();
    for setup in accepted.setups() {
        let expected = three_rounds(policy, adapter, &setup)?;
        let described = description(adapter, &setup);
        let mut simulation = Simulation::new(policy, adapter, &setup).map_err(|error| error.to_string())?;
        let before = simulation.state.clone();
        for noise in 1..=3 {
            simulation.round(noise).map_err(String::from)?;
        }
        simulation.state = before;
        for (noise, expected) in (1..).zip(&expected) {
            if simulation.round(noise).map_err(String::from)? != *expected {
                return Err(format!("an instance that is set back three rounds goes on otherwise, {described}"));
            }
        }
        let mut simulation = Simulation::new(policy, adapter, &setup).map_err(|error| error.to_string())?;
        for (noise, expected) in (1..).zip(&expected) {
            let mut fresh = Simulation::new(policy, adapter, &setup).map_err(|error| error.to_string())?;
            fresh.state = simulation.state.clone();
            (fresh.state.server, fresh.state.client) =
                (through_bytes(&simulation.state.server)?, through_bytes(&simulation.state.client)?);
            if fresh.round(noise).map_err(String::from)? != *expected {
                return Err(format!("an instance that only has the memory goes on otherwise, {described}"));
            }
            simulation = fresh;
        }
    }
    Ok("rounds taken back, and a fresh instance with the memory from bytes".into())
}

/// A memory after a journal: bytes, and back.
fn through_bytes(entries: &Entries) -> Result<Arc<Entries>, String> {
    Entries::from_bytes(&entries.to_bytes()).map(Arc::new).map_err(|error| error.to_string())
}

/// Training that diverged gives such vectors; the receiver refuses what arrives, but nobody may break.
fn strange_values(policy: &Arc<Policy>, accepted: &AcceptedInputs) -> Result<String, String> {
    let adapter = accepted.largest();
    for setup in accepted.setups() {
        let mut simulation = Simulation::new(policy, adapter, &setup).map_err(|error| error.to_string())?;
        simulation.state.round = 1;
        let outgoing = simulation.outgoing();
        let message = simulation.broadcast(&outgoing).map_err(String::from)?;
        let received = simulation.receive(message).map_err(String::from)?;
        simulation.train(&received, 1).map_err(String::from)?;
        let before = simulation.state.clone();
        for strange in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN_POSITIVE / 4.0, 0.0] {
            for all in [false, true] {
                let mut values = delta(adapter.values(), 1).to_vec();
                if all {
                    values.fill(strange);
                } else {
                    values[7] = strange;
                }
                let values = Arc::new(values);
                let down = simulation.broadcast(&values).and_then(|message| simulation.receive(message).map(drop));
                simulation.state = before.clone();
                let up = simulation.upload(&values).and_then(|message| simulation.collect(message, &values).map(drop));
                simulation.state = before.clone();
                if simulation.poisoned() {
                    let faults = [down.err(), up.err()].into_iter().flatten().map(String::from).collect::<Vec<_>>();
                    return Err(format!("{strange:?}, {}: {}", description(adapter, &setup), faults.join("; ")));
                }
            }
        }
    }
    Ok("not a number, infinities, the largest, the smallest, only zeros".into())
}
