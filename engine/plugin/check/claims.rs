//! What a policy promises by its capabilities, measured.

use std::sync::Arc;

use serde_json::Map;

use super::Finding;
use super::exchange::{Ends, Setting};
use crate::plugin::samples::{Adapter, adapters, context, delta, distance, norm};
use crate::policy::{Content, Direction, Policy};

/// Messages with seeds of their own behind the test of unbiasedness.
const DRAWS: usize = 256;
/// What rounding of values on the wire may bring, relative.
const ROUNDING: f64 = 5e-3;

pub(super) fn findings(policy: &Arc<Policy>, settings: &[Setting]) -> Vec<Finding> {
    let mut all = Vec::new();
    let uploads = settings.iter().copied().filter(|setting| setting.direction == Direction::Upload);
    // The most bits: a promise is about the method, not about how coarse its values are.
    let Some(setting) = uploads.max_by_key(|setting| setting.bits) else { return all };
    let adapter = &adapters()[3];
    if policy.capabilities.linear {
        all.push(Finding::new("linear, as it says", linear(policy, adapter, setting)));
    }
    if policy.capabilities.unbiased {
        all.push(Finding::new("unbiased, as it says", unbiased(policy, adapter, setting)));
    }
    all
}

/// The mean of two decoded messages against the decoded mean.
fn linear(policy: &Arc<Policy>, adapter: &Adapter, setting: Setting) -> Result<String, String> {
    let send = |values: &Arc<Vec<f32>>| {
        let mut ends = Ends::new(policy, adapter, setting, &Map::new())?;
        Ok::<_, String>(ends.exchange(&context(Content::Delta, 0.25), values)?.decoded)
    };
    let (a, b) = (delta(adapter.values(), 1), delta(adapter.values(), 2));
    let mean = |a: &[f32], b: &[f32]| -> Vec<f32> { a.iter().zip(b).map(|(a, b)| (a + b) / 2.0).collect() };
    let of_decoded = mean(&send(&a)?, &send(&b)?);
    let decoded = send(&Arc::new(mean(&a, &b)))?;
    let apart = distance(&of_decoded, &decoded) / norm(&of_decoded).max(norm(&decoded)).max(f64::MIN_POSITIVE);
    let seen = format!("the mean of two decoded deltas and the decoded mean are {apart:.1e} of their norm apart");
    if apart <= ROUNDING { Ok(seen) } else { Err(format!("{seen}, limit {ROUNDING:.0e}")) }
}

/// The mean of many decodings of one delta, each under a seed of its own, against the delta.
fn unbiased(policy: &Arc<Policy>, adapter: &Adapter, setting: Setting) -> Result<String, String> {
    let values = delta(adapter.values(), 1);
    let mut ends = Ends::new(policy, adapter, setting, &Map::new())?;
    let (mut sum, mut squares) = (vec![0.0_f64; values.len()], 0.0);
    for seed in 0..DRAWS {
        (ends.sender, ends.receiver) = Default::default();
        let mut context = context(Content::Delta, 0.25);
        context.seed = seed as u64 + 1;
        let decoded = ends.exchange(&context, &values)?.decoded;
        for ((sum, decoded), value) in sum.iter_mut().zip(&decoded).zip(values.iter()) {
            let error = f64::from(*decoded) - f64::from(*value);
            *sum += error;
            squares += error * error;
        }
    }
    // Of an unbiased encoder, the squared norm of the mean error is about 1/n of a single squared error.
    let draws = DRAWS as f64;
    let bias = sum.iter().map(|sum| (sum / draws).powi(2)).sum::<f64>().sqrt();
    let expected = (squares / draws / draws).sqrt();
    let limit = 1.5 * expected + ROUNDING * norm(&values);
    let size = norm(&values);
    let seen =
        format!("mean error of {DRAWS} messages {:.1e} of the norm, chance allows {:.1e}", bias / size, limit / size);
    if bias <= limit { Ok(seen) } else { Err(seen) }
}
