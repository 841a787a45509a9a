//! The rules for compressors.

use std::sync::Arc;

use serde_json::Map;

use super::{Finding, claims, damage, hooks};
use crate::plugin::samples::{Adapter, adapters, delta};
use crate::plugin::trial::{Setup, Trace, Trial, instance, is_typed};
use crate::policy::{Content, Direction, Entries, Policy};

const BITS: [u32; 7] = [32, 16, 8, 4, 3, 2, 1];
const DENSITIES: [f64; 3] = [1.0, 0.25, 1.0 / 256.0];
/// Options from here on need not do anything sensible, as long as `init` answers.
pub(super) const LARGE: f64 = 1e9;

/// What a policy takes: adapters, and for each direction the bits.
pub(super) struct Taken {
    pub adapters: Vec<Adapter>,
    down: Vec<u32>,
    up: Vec<u32>,
}

impl Taken {
    /// The most bits in both directions, and the fewest.
    pub fn setups(&self) -> Vec<Setup> {
        let setup = |down: Option<&u32>, up: Option<&u32>| Setup {
            down: down.copied(),
            up: up.copied(),
            density: 0.25,
            content: Content::Weights,
            options: Map::new(),
        };
        let mut setups = vec![setup(self.down.first(), self.up.first())];
        let fewest = setup(self.down.last(), self.up.last());
        if setups[0] != fewest {
            setups.push(fewest);
        }
        setups
    }

    /// The largest adapter.
    pub fn largest(&self) -> &Adapter {
        &self.adapters[self.adapters.len() - 1]
    }
}

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

/// Adapters, directions and bits that it takes; what it does not take it must refuse, not break on.
fn taken(policy: &Arc<Policy>) -> Result<(Taken, String), String> {
    let mut found = Taken { adapters: Vec::new(), down: Vec::new(), up: Vec::new() };
    let mut refused = Refused::default();
    for adapter in adapters() {
        let mut takes = false;
        for bits in BITS {
            for direction in [Direction::Download, Direction::Upload] {
                match instance(policy, &adapter, (direction, bits), &Map::new()) {
                    Ok(_) => {
                        takes = true;
                        let known = if direction == Direction::Download { &mut found.down } else { &mut found.up };
                        if !known.contains(&bits) {
                            known.push(bits);
                        }
                    }
                    Err(error) if is_typed(&error) => refused.add(bits, error.to_string()),
                    Err(error) => return Err(error.to_string()),
                }
            }
        }
        if takes {
            found.adapters.push(adapter);
        }
    }
    if found.adapters.is_empty() {
        return Err(format!("it takes no adapter: {}", refused.words()));
    }
    let words = |bits: &[u32]| bits.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    let values: Vec<u32> = found.adapters.iter().map(|adapter| adapter.values() as u32).collect();
    let seen = format!("{} values; bits down: {}; up: {}", words(&values), words(&found.down), words(&found.up));
    Ok((found, seen))
}

/// What `init` answered, each reason once, with the bits that it was given for.
#[derive(Default)]
struct Refused(Vec<(String, Vec<u32>)>);

impl Refused {
    fn add(&mut self, bits: u32, reason: String) {
        // The same but for the bits is the same.
        let reason = ["upload.bits", "download.bits"]
            .into_iter()
            .fold(reason, |reason, key| reason.replace(&format!("{key} is {bits},"), "bits is none of these,"));
        let known = self.0.iter_mut().find(|(known, _)| *known == reason);
        let Some((_, of)) = known else { return self.0.push((reason, vec![bits])) };
        if !of.contains(&bits) {
            of.push(bits);
        }
    }

    /// The reasons for the most bits first: what is wrong with the policy itself shows there.
    fn words(&self) -> String {
        let of = |(reason, bits): &(String, Vec<u32>)| {
            let bits: Vec<String> = bits.iter().map(u32::to_string).collect();
            format!("with {} bits: {reason}", bits.join(", "))
        };
        self.0.iter().map(of).collect::<Vec<_>>().join("; ")
    }
}

/// What a trial was about.
pub(super) fn named(adapter: &Adapter, setup: &Setup) -> String {
    let bits = |bits: Option<u32>| bits.map_or_else(|| "none".into(), |bits| bits.to_string());
    let (values, density) = (adapter.values(), setup.density);
    format!("{values} values, density {density}, bits down {}, up {}", bits(setup.down), bits(setup.up))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_to_refuse_is_told_once() {
        let mut refused = Refused::default();
        for bits in [32, 16, 8, 4, 32] {
            let reason = match bits {
                16.. => "it trips over an option".into(),
                4 => "download.bits is 4, allowed: 16 or 32".into(),
                _ => format!("upload.bits is {bits}, allowed: 16 or 32"),
            };
            refused.add(bits, reason);
        }
        assert_eq!(
            refused.words(),
            "with 32, 16 bits: it trips over an option; with 8, 4 bits: bits is none of these, allowed: 16 or 32"
        );
    }
}
