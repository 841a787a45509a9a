//! The inputs of a compressor's checks: a policy in; the adapters, directions and bits that it does not refuse out,
//! as setups of simulations.

use std::sync::Arc;

use serde_json::Map;

use crate::plugin::simulation::{SimulationSetup, instance, is_typed};
use crate::plugin::synthetic::{Adapter, adapters};
use crate::policy::{Content, Direction, Policy};

const BITS: [u32; 7] = [32, 16, 8, 4, 3, 2, 1];

/// The inputs that a policy accepts: adapters, and bits for each direction.
pub(super) struct AcceptedInputs {
    pub adapters: Vec<Adapter>,
    down: Vec<u32>,
    up: Vec<u32>,
}

impl AcceptedInputs {
    /// The most bits in both directions, and the fewest.
    pub fn setups(&self) -> Vec<SimulationSetup> {
        let setup = |down: Option<&u32>, up: Option<&u32>| SimulationSetup {
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

/// Adapters, directions and bits that it takes; what it does not take it must refuse, not break on.
pub(super) fn accepted(policy: &Arc<Policy>) -> Result<(AcceptedInputs, String), String> {
    let mut found = AcceptedInputs { adapters: Vec::new(), down: Vec::new(), up: Vec::new() };
    let mut refused = Refusals::default();
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

/// The reasons of `init`'s refusals, each once, with the bits that it was given for.
#[derive(Default)]
struct Refusals(Vec<(String, Vec<u32>)>);

impl Refusals {
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

/// A simulation's inputs in words, for findings.
pub(super) fn description(adapter: &Adapter, setup: &SimulationSetup) -> String {
    let bits = |bits: Option<u32>| bits.map_or_else(|| "none".into(), |bits| bits.to_string());
    let (values, density) = (adapter.values(), setup.density);
    format!("{values} values, density {density}, bits down {}, up {}", bits(setup.down), bits(setup.up))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_to_refuse_is_told_once() {
        let mut refused = Refusals::default();
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
