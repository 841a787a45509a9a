//! Cost and accuracy of compressors side by side: time, bytes and error of one upload.

use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use serde_json::{Map, Value};

use super::PluginError;
use super::simulation::{Simulation, SimulationSetup, StepFailure, instance};
use super::synthetic::{Adapter, distance, norm};
use crate::adapter::{AdapterLayout, Message, Part, ValueCoding};
use crate::policy::{Content, Direction, Policy, PolicyError};

/// Milliseconds that a measurement may take beside its first call.
const BUDGET_MS: f64 = 2_000.0;
const RUNS: usize = 9;

/// Settings of the measured upload.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Share of the values to send.
    pub density: f64,
    /// Bits of a value; a policy that does not take them gets the next that it does.
    pub bits: u32,
    /// Options of the policy; the rest has its defaults.
    pub options: Map<String, Value>,
}

/// One policy on one adapter.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measurement {
    /// The policy's name.
    pub policy: String,
    /// Number of adapter values.
    pub values: usize,
    /// Bits of a value.
    pub bits: u32,
    /// Median milliseconds of `encode`, before wire coding.
    pub encode_ms: f64,
    /// Median milliseconds of `decode`.
    pub decode_ms: f64,
    /// Length of the frame.
    pub wire_bytes: u64,
    /// Length of a dense f32 frame over that length.
    pub reduction: f64,
    /// Norm of what was lost, rounding on the wire included, over the norm of the delta.
    pub relative_error: f64,
}

/// Sends a bell-shaped delta of the layout through a policy, several times, and takes medians. Where the
/// policy serves downloads too, the client has received the seeded start by it before.
///
/// # Errors
/// A policy that is no compressor; what the policy says; a message that cannot travel.
pub fn measure(
    policy: &Arc<Policy>,
    layout: &Arc<AdapterLayout>,
    settings: &Settings,
) -> Result<Measurement, PluginError> {
    if !policy.is_compressor() {
        return Err(PluginError::NoCompressor { policy: policy.name.clone() });
    }
    let adapter = Adapter::new(layout.clone());
    let setup = setup(policy, &adapter, settings)?;
    let broken = |fault: StepFailure| PluginError::Broken { policy: policy.name.clone(), reason: fault.reason };
    let mut simulation = Simulation::new(policy, &adapter, &setup)?;
    simulation.state.round = 1;
    let outgoing = simulation.outgoing();
    let received = simulation.broadcast(&outgoing).and_then(|message| simulation.receive(message)).map_err(broken)?;
    let delta = simulation.train(&received, 1).map_err(broken)?;
    let context = simulation.context(Direction::Upload);
    let before = simulation.state.clone();
    let (message, encode_ms) = median(|| {
        simulation.state = before.clone();
        let started = Instant::now();
        let message = simulation.upload(&delta);
        Ok((message?, milliseconds(started)))
    })
    .map_err(broken)?;
    let (frame, message) = simulation.through_wire(&context, &message.unwrap_or_default()).map_err(broken)?;
    let before = simulation.state.clone();
    let (arrived, decode_ms) = median(|| {
        simulation.state = before.clone();
        let message = message.clone();
        let started = Instant::now();
        let arrived = simulation.collect(Some(message), &delta);
        Ok((arrived?, milliseconds(started)))
    })
    .map_err(broken)?;
    let dense = Part::Values { coding: ValueCoding::F32, values: delta.clone() };
    let (dense, _) = simulation.through_wire(&context, &Message { parts: vec![dense] }).map_err(broken)?;
    Ok(Measurement {
        policy: policy.name.clone(),
        values: delta.len(),
        bits: setup.up.unwrap_or_default(),
        encode_ms,
        decode_ms,
        wire_bytes: frame.len() as u64,
        reduction: dense.len() as f64 / frame.len() as f64,
        relative_error: distance(&arrived, &delta) / norm(&delta),
    })
}

/// With the wanted bits, or the first of the usual ones that the policy takes; downloads with the most that it takes.
fn setup(policy: &Arc<Policy>, adapter: &Adapter, wanted: &Settings) -> Result<SimulationSetup, PolicyError> {
    let options = &wanted.options;
    let takes = |direction: Direction, bits: u32| instance(policy, adapter, (direction, bits), options).map(drop);
    let up = match takes(Direction::Upload, wanted.bits) {
        Ok(()) => wanted.bits,
        Err(error) => {
            let other = [16, 32, 8, 4, 3, 2, 1].into_iter().find(|bits| takes(Direction::Upload, *bits).is_ok());
            other.ok_or(error)?
        }
    };
    let down = [32, 16, 8, 4, 3, 2, 1].into_iter().find(|bits| takes(Direction::Download, *bits).is_ok());
    let (density, content, options) = (wanted.density, Content::Weights, options.clone());
    Ok(SimulationSetup { down, up: Some(up), density, content, options })
}

fn milliseconds(started: Instant) -> f64 {
    started.elapsed().as_secs_f64() * 1e3
}

/// The last call's result, and the median time of all calls but the first, milliseconds.
fn median<T>(mut call: impl FnMut() -> Result<(T, f64), StepFailure>) -> Result<(T, f64), StepFailure> {
    let (mut result, mut accepted) = call()?;
    let mut times = Vec::new();
    while times.is_empty() || (times.len() < RUNS && accepted < BUDGET_MS) {
        let (next, milliseconds) = call()?;
        (result, accepted) = (next, accepted + milliseconds);
        times.push(milliseconds);
    }
    times.sort_by(f64::total_cmp);
    Ok((result, times[times.len() / 2]))
}

/// The adapter of a mid-sized model: 10,092,544 values in pairs of rank 16.
pub fn large_layout() -> Arc<AdapterLayout> {
    Adapter::lora(16, &[(2048, 2048); 154]).layout
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{LimitsConfig, PolicyConfig, PolicyHost};

    #[test]
    fn bytes_and_errors_are_what_the_policy_makes_of_a_delta() {
        let host = PolicyHost::new(&LimitsConfig::default(), &PolicyConfig::default()).unwrap();
        let layout = Adapter::lora(4, &[(64, 64), (64, 64)]).layout;
        let of = |name: &str, density, bits| {
            measure(&host.load(name).unwrap(), &layout, &Settings { density, bits, options: Map::new() }).unwrap()
        };
        let dense = of("dense", 0.25, 32);
        assert_eq!((dense.relative_error, dense.reduction, dense.bits), (0.0, 1.0, 32));
        let quarter = of("flasc", 0.25, 16);
        assert!(quarter.reduction > 6.0 && quarter.reduction < 8.0, "{quarter:?}");
        assert!(quarter.relative_error > 0.01 && quarter.relative_error < 0.6, "{quarter:?}");
        assert!(of("flasc", 0.05, 16).relative_error > quarter.relative_error);
        assert_eq!(of("flasc", 0.25, 5).bits, 16, "bits that it does not take");
        let with = |name: &str, option: &str, value: f64| {
            let options = Map::from_iter([(option.to_owned(), Value::from(value))]);
            measure(&host.load(name).unwrap(), &layout, &Settings { density: 0.25, bits: 16, options })
        };
        assert_eq!(with("flasc", "decay", 1.0).unwrap().wire_bytes, quarter.wire_bytes);
        assert!(with("flasc", "dekay", 1.0).unwrap_err().to_string().contains("did you mean decay"));
        let refused = with("median", "decay", 1.0).unwrap_err().to_string();
        assert_eq!(refused, "policy median cannot be measured: it is an aggregator, only compressors are");
    }

    #[test]
    fn the_large_layout_has_ten_million_values() {
        assert_eq!(large_layout().values(), 10_092_544);
    }
}
