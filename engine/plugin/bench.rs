//! What compressors cost and give: time, bytes and error of one upload, beside each other.

use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;

use super::samples::{Adapter, context, delta, distance, norm};
use crate::adapter::{AdapterLayout, Message, Part, ValueCoding};
use crate::policy::{CompressorInstance, Content, Memory, Policy, PolicyError};
use crate::wire::{self, FrameKind, Header, Limits, Said, WireError};

/// Milliseconds that a measurement may take beside its first call.
const BUDGET_MS: f64 = 2_000.0;
const RUNS: usize = 9;

/// How messages are made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Share of the values to send.
    pub density: f64,
    /// Bits of a value; a policy that does not take them gets the next that it does.
    pub bits: u32,
}

/// One policy on one adapter.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measured {
    /// What the policy calls itself.
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
    /// How many times shorter that is than a dense f32 frame.
    pub reduction: f64,
    /// Norm of what was lost, rounding on the wire included, over the norm of the delta.
    pub relative_error: f64,
}

/// Sends a bell-shaped delta of the layout through a policy with its defaults, several times, and takes medians.
///
/// # Errors
/// What the policy says; a message that cannot travel.
pub fn measure(policy: &Arc<Policy>, layout: &Arc<AdapterLayout>, settings: Settings) -> Result<Measured, PolicyError> {
    let adapter = Adapter::new(layout.clone());
    let (mut instance, bits) = instance(policy, layout, settings.bits)?;
    let values = delta(adapter.values(), 1);
    let context = context(Content::Delta, settings.density);
    let mut encode = || {
        let started = Instant::now();
        let message = instance.encode(&context, values.clone(), adapter.start.clone(), &mut Memory::default());
        message.map(|message| (message, milliseconds(started)))
    };
    let (message, encode_ms) = median(&mut encode)?;
    let frame = frame(policy, &message)?;
    let (_, message) = wire::decode(&frame, &Limits::for_values(values.len())).map_err(travel(policy))?;
    let mut decode = || {
        let message = message.clone();
        let started = Instant::now();
        let decoded = instance.decode(&context, message, adapter.start.clone(), &mut Memory::default());
        decoded.map(|decoded| (decoded, milliseconds(started)))
    };
    let (decoded, decode_ms) = median(&mut decode)?;
    let dense = Part::Values { coding: ValueCoding::F32, values: values.to_vec() };
    let dense_bytes = self::frame(policy, &Message { parts: vec![dense] })?.len();
    Ok(Measured {
        policy: policy.name.clone(),
        values: values.len(),
        bits,
        encode_ms,
        decode_ms,
        wire_bytes: frame.len() as u64,
        reduction: dense_bytes as f64 / frame.len() as f64,
        relative_error: distance(&decoded, &values) / norm(&values),
    })
}

/// With the wanted bits, or the first of the usual ones that the policy takes.
fn instance(
    policy: &Arc<Policy>,
    layout: &Arc<AdapterLayout>,
    wanted: u32,
) -> Result<(CompressorInstance, u32), PolicyError> {
    let with = |bits: u32| {
        let options = serde_json::json!({ "direction": "upload", "bits": bits });
        policy.compressor(layout, &options.to_string()).map(|instance| (instance, bits))
    };
    let first = with(wanted);
    if !matches!(first, Err(PolicyError::Option { .. })) {
        return first;
    }
    [16, 32, 8, 4, 3, 2, 1].into_iter().find_map(|bits| with(bits).ok()).map_or(first, Ok)
}

fn milliseconds(started: Instant) -> f64 {
    started.elapsed().as_secs_f64() * 1e3
}

/// What the last call gave, and the median of all but the first.
fn median<T>(call: &mut impl FnMut() -> Result<(T, f64), PolicyError>) -> Result<(T, f64), PolicyError> {
    let (mut result, mut taken) = call()?;
    let mut times = Vec::new();
    while times.is_empty() || (times.len() < RUNS && taken < BUDGET_MS) {
        let (next, milliseconds) = call()?;
        (result, taken) = (next, taken + milliseconds);
        times.push(milliseconds);
    }
    times.sort_by(f64::total_cmp);
    Ok((result, times[times.len() / 2]))
}

fn frame(policy: &Policy, message: &Message) -> Result<Vec<u8>, PolicyError> {
    let header = Header {
        kind: FrameKind::Upload,
        layout: 0,
        policy: policy.hash.short(),
        round: 1,
        client: 3,
        sequence: 0,
        said: Said::default(),
    };
    wire::encode(&header, message).map_err(travel(policy))
}

fn travel(policy: &Policy) -> impl Fn(WireError) -> PolicyError {
    let (policy, hook) = (policy.name.clone(), "encode");
    move |error| PolicyError::Rejected {
        policy: policy.clone(),
        hook,
        message: format!("its message cannot travel: {error}"),
    }
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
            measure(&host.load(name).unwrap(), &layout, Settings { density, bits }).unwrap()
        };
        let dense = of("dense", 0.25, 32);
        assert_eq!((dense.relative_error, dense.reduction, dense.bits), (0.0, 1.0, 32));
        let quarter = of("flasc", 0.25, 16);
        assert!(quarter.reduction > 6.0 && quarter.reduction < 8.0, "{quarter:?}");
        assert!(quarter.relative_error > 0.01 && quarter.relative_error < 0.6, "{quarter:?}");
        assert!(of("flasc", 0.05, 16).relative_error > quarter.relative_error);
        assert_eq!(of("flasc", 0.25, 5).bits, 16, "bits that it does not take");
    }

    #[test]
    fn the_large_layout_has_ten_million_values() {
        assert_eq!(large_layout().values(), 10_092_544);
    }
}
