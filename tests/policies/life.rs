//! The life of a policy: every hook once, each with what it would be given in a run.

use std::sync::Arc;

use cellm::policy::{Content, Context, Direction, Memory, Policy, PolicyError, RoundMeta, UpdateMeta};

use crate::support::{VALUES, layout};

pub fn context() -> Context {
    Context {
        direction: Direction::Upload,
        content: Content::Delta,
        round: 3,
        rounds: 40,
        seed: 1,
        client: Some(7),
        tier: 0,
        density: 0.25,
        rank: 0,
        byte_budget: Some(1 << 20),
        examples: 16,
        loss: Some(1.5),
        last_seen: Some(1),
    }
}

/// Every hook; the first failure ends it.
pub fn live(policy: &Arc<Policy>) -> Result<(), PolicyError> {
    let values = Arc::new((0..VALUES).map(|value| value as f32).collect::<Vec<f32>>());
    let (context, memory) = (context(), &mut Memory::default());
    let mut compressor = policy.compressor(&layout(), "{}")?;
    let message = compressor.encode(&context, values.clone(), values.clone(), memory)?;
    let decoded = compressor.decode(&context, message, values.clone(), memory)?;
    assert_eq!(decoded.len(), VALUES);
    let trainable = compressor.plan(&context, values.clone(), values.clone(), memory)?;
    assert!(trainable.is_none_or(|trainable| trainable.iter().all(|index| (*index as usize) < VALUES)));
    compressor.on_ack(&context, true, memory)?;
    if let Some(message) = compressor.encode_catch_up(&context, memory)? {
        compressor.decode_catch_up(&context, message, memory)?;
    }
    let mut aggregator = policy.aggregator(&layout(), "{}")?;
    let round = RoundMeta { round: 3, rounds: 40, seed: 1, cohort: 1 };
    aggregator.begin(&round, values.clone(), memory)?;
    let update = UpdateMeta { client: 7, examples: 16, loss: Some(1.5), norm: 1.0, tier: 0, rank: 0 };
    aggregator.accept(values.clone(), &update, memory)?;
    let aggregate = aggregator.finish(memory)?;
    let stepped = aggregator.step(3, values.clone(), aggregate, memory)?;
    assert_eq!(stepped.len(), VALUES);
    assert!(values.iter().enumerate().all(|(at, value)| *value == at as f32), "the caller's values changed");
    Ok(())
}
