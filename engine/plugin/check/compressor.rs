//! The rules for compressors.

use std::sync::Arc;

use serde_json::Map;

use super::taken::{Taken, named, taken};
use super::{Finding, LARGE, claims, damage, hooks};
use crate::plugin::samples::{Adapter, delta};
use crate::plugin::trial::{Setup, Trace, Trial};
use crate::policy::{Content, Entries, Policy};

const DENSITIES: [f64; 3] = [1.0, 0.25, 1.0 / 256.0];
pub(super) fn findings(policy: &Arc<Policy>) -> Vec<Finding> {
    let (taken, seen) = match taken(policy) {
        Ok(taken) => taken,
        Err(reason) => return vec![Finding::new("starts", Err(reason))],
    };
    let mut all = vec![Finding::new("starts", Ok(seen))];
    let rounds = rounds(policy, &taken);
    let broken = rounds.is_err();
    all.push(Finding::new("sends and receives", rounds));
    if broken {
        return all;
    }
    all.extend(alone(policy, &taken));
    all.extend(differences(policy, &taken));
    all.push(Finding::new("options", options(policy, &taken)));
    all.push(Finding::new("repeats itself", repeats(policy, &taken)));
    all.push(Finding::new("remembers only what it saves", remembers(policy, &taken)));
    all.push(Finding::new("refuses damaged messages", damage::findings(policy, &taken)));
    all.push(Finding::new("survives strange values", strange_values(policy, &taken)));
    all.extend(claims::findings(policy, &taken));
    all.extend(hooks::findings(policy, &taken));
    all
}

/// Three rounds of a fresh trial.
fn three_rounds(policy: &Arc<Policy>, adapter: &Adapter, setup: &Setup) -> Result<Vec<Trace>, String> {
    let mut trial = Trial::new(policy, adapter, setup).map_err(|error| error.to_string())?;
    (1..=3).map(|noise| trial.round(noise).map_err(String::from)).collect()
}

fn rounds(policy: &Arc<Policy>, taken: &Taken) -> Result<String, String> {
    let mut count = 0;
    for adapter in &taken.adapters {
        for setup in taken.setups() {
            for density in DENSITIES {
                let setup = Setup { density, ..setup.clone() };
                let traces = three_rounds(policy, adapter, &setup);
                count += traces.map_err(|reason| format!("{}: {reason}", named(adapter, &setup)))?.len();
            }
        }
    }
    Ok(format!("{count} rounds, each from the server to a client and back"))
}

/// Whether uploads work beside another policy's downloads.
fn alone(policy: &Arc<Policy>, taken: &Taken) -> Option<Finding> {
    let setup = taken.setups().into_iter().next().filter(|setup| setup.down.is_some() && setup.up.is_some())?;
    let alone = Setup { down: None, ..setup };
    let seen = match three_rounds(policy, taken.largest(), &alone) {
        Ok(_) => "uploads work beside any policy of downloads".into(),
        Err(reason) => format!("uploads need its own downloads: {reason}"),
    };
    Some(Finding::note("alone", seen))
}

/// What `download.error_feedback` sends.
fn differences(policy: &Arc<Policy>, taken: &Taken) -> Option<Finding> {
    let setup = taken.setups().into_iter().next().filter(|setup| setup.down.is_some())?;
    let setup = Setup { content: Content::Difference, ..setup };
    let mut trial = Trial::new(policy, taken.largest(), &setup).ok()?;
    for noise in 1..=3 {
        match trial.round(noise) {
            Ok(_) => {}
            Err(fault) if fault.typed && !trial.poisoned() => {
                return Some(Finding::note("differences", format!("refused: {}", fault.reason)));
            }
            Err(fault) => return Some(Finding::new("differences", Err(fault.reason))),
        }
    }
    Some(Finding::new("differences", Ok("three rounds with error feedback on the way down".into())))
}

fn options(policy: &Arc<Policy>, taken: &Taken) -> Result<String, String> {
    let adapter = taken.largest();
    let (mut count, mut refused) = (0, 0);
    for (name, edges) in policy.option_edges() {
        for value in edges {
            let options = Map::from_iter([(name.to_owned(), value.clone())]);
            for setup in taken.setups() {
                let setup = Setup { options: options.clone(), ..setup };
                let large = value.as_f64().is_some_and(|number| number.abs() >= LARGE);
                let result = Trial::new(policy, adapter, &setup)
                    .map_err(Into::into)
                    .and_then(|mut trial| if large { Ok(Vec::new()) } else { trial.round(1) });
                match result {
                    Ok(_) => count += 1,
                    Err(fault) if fault.typed => refused += 1,
                    Err(fault) => {
                        return Err(format!("{name} = {value}, {}: {}", named(adapter, &setup), fault.reason));
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

fn repeats(policy: &Arc<Policy>, taken: &Taken) -> Result<String, String> {
    for setup in taken.setups() {
        let run = || three_rounds(policy, taken.largest(), &setup);
        if run()? != run()? {
            return Err(format!("two fresh runs differ, {}", named(taken.largest(), &setup)));
        }
    }
    Ok("three rounds, twice, the same bytes and values".into())
}

/// What an instance knows and its memory does not is lost when the instance goes, and wrong when a round is taken back.
fn remembers(policy: &Arc<Policy>, taken: &Taken) -> Result<String, String> {
    let adapter = taken.largest();
    for setup in taken.setups() {
        let expected = three_rounds(policy, adapter, &setup)?;
        let named = named(adapter, &setup);
        let mut trial = Trial::new(policy, adapter, &setup).map_err(|error| error.to_string())?;
        let before = trial.state.clone();
        for noise in 1..=3 {
            trial.round(noise).map_err(String::from)?;
        }
        trial.state = before;
        for (noise, expected) in (1..).zip(&expected) {
            if trial.round(noise).map_err(String::from)? != *expected {
                return Err(format!("an instance that is set back three rounds goes on otherwise, {named}"));
            }
        }
        let mut trial = Trial::new(policy, adapter, &setup).map_err(|error| error.to_string())?;
        for (noise, expected) in (1..).zip(&expected) {
            let mut fresh = Trial::new(policy, adapter, &setup).map_err(|error| error.to_string())?;
            fresh.state = trial.state.clone();
            (fresh.state.server, fresh.state.client) = (moved(&trial.state.server)?, moved(&trial.state.client)?);
            if fresh.round(noise).map_err(String::from)? != *expected {
                return Err(format!("an instance that only has the memory goes on otherwise, {named}"));
            }
            trial = fresh;
        }
    }
    Ok("rounds taken back, and a fresh instance with the memory from bytes".into())
}

/// A memory after a journal: bytes, and back.
fn moved(entries: &Entries) -> Result<Arc<Entries>, String> {
    Entries::from_bytes(&entries.to_bytes()).map(Arc::new).map_err(|error| error.to_string())
}

/// Training that diverged gives such vectors; the receiver refuses what arrives, but nobody may break.
fn strange_values(policy: &Arc<Policy>, taken: &Taken) -> Result<String, String> {
    let adapter = taken.largest();
    for setup in taken.setups() {
        let mut trial = Trial::new(policy, adapter, &setup).map_err(|error| error.to_string())?;
        trial.state.round = 1;
        let outgoing = trial.outgoing();
        let message = trial.broadcast(&outgoing).map_err(String::from)?;
        let received = trial.receive(message).map_err(String::from)?;
        trial.train(&received, 1).map_err(String::from)?;
        let before = trial.state.clone();
        for strange in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN_POSITIVE / 4.0, 0.0] {
            for all in [false, true] {
                let mut values = delta(adapter.values(), 1).to_vec();
                if all {
                    values.fill(strange);
                } else {
                    values[7] = strange;
                }
                let values = Arc::new(values);
                let down = trial.broadcast(&values).and_then(|message| trial.receive(message).map(drop));
                trial.state = before.clone();
                let up = trial.upload(&values).and_then(|message| trial.collect(message, &values).map(drop));
                trial.state = before.clone();
                if trial.poisoned() {
                    let faults = [down.err(), up.err()].into_iter().flatten().map(String::from).collect::<Vec<_>>();
                    return Err(format!("{strange:?}, {}: {}", named(adapter, &setup), faults.join("; ")));
                }
            }
        }
    }
    Ok("not a number, infinities, the largest, the smallest, only zeros".into())
}
