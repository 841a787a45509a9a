//! Every hook of a component that was written with the SDK, through the host. The component is `plugins/witness`.

use std::sync::Arc;

use super::*;
use crate::adapter::{AdapterLayout, Role, TensorSpec};

const BYTES: &[u8] = include_bytes!("../../tests/fixtures/witness.wasm");
const VALUES: usize = 2000;

fn layout() -> Arc<AdapterLayout> {
    let tensor = |name: &str, role| TensorSpec {
        name: name.into(),
        role,
        shape: vec![1, VALUES / 2],
        rank: 1,
        scale: 1.0,
        seed: 3,
    };
    Arc::new(AdapterLayout::new(vec![tensor("a", Role::LoraA), tensor("b", Role::LoraB)]))
}

fn witness() -> Arc<Policy> {
    let host = PolicyHost::new(&LimitsConfig::default(), &PolicyConfig::default()).unwrap();
    host.load_bytes("witness", BYTES).unwrap()
}

fn context(round: u32) -> Context {
    Context {
        direction: Direction::Upload,
        content: Content::Delta,
        round,
        rounds: 9,
        seed: 1,
        client: Some(3),
        tier: 0,
        density: 0.1,
        rank: 0,
        byte_budget: None,
        examples: 3,
        loss: Some(1.0),
        last_seen: Some(2),
    }
}

/// Number of a hook's calls, as the witness counts them in its memory.
fn count(memory: &Memory, hook: &str) -> u8 {
    match memory.get(EntryKind::Bytes, hook) {
        Some(Entry::Bytes(bytes)) => bytes[0],
        _ => 0,
    }
}

#[test]
fn it_has_every_hook() {
    let witness = witness();
    assert!(witness.is_compressor() && witness.is_aggregator());
    assert!(witness.plans() && witness.acknowledges() && witness.catches_up() && witness.steps());
    assert!(witness.capabilities.stateful_client && !witness.capabilities.needs_loss);
}

#[test]
fn a_compressor_of_the_sdk_gets_every_call_and_remembers_it() {
    let mut memory = Memory::default();
    let values = Arc::new(vec![0.5; VALUES]);
    let mut compressor = witness().compressor(&layout(), r#"{"direction":"upload","bits":32}"#).unwrap();
    let message = compressor.encode(&context(5), values.clone(), values.clone(), &mut memory).unwrap();
    assert_eq!(compressor.decode(&context(5), message, values.clone(), &mut memory).unwrap(), values);
    let plan = compressor.plan(&context(5), values.clone(), values, &mut memory).unwrap();
    assert_eq!(plan, Some((0..VALUES as u32 / 2).collect()));
    compressor.on_ack(&context(5), true, &mut memory).unwrap();
    compressor.on_ack(&context(6), false, &mut memory).unwrap();
    assert!(compressor.encode_catch_up(&context(3), &mut memory).unwrap().is_none(), "it was in the round before");
    let message = compressor.encode_catch_up(&context(5), &mut memory).unwrap().unwrap();
    compressor.decode_catch_up(&context(5), message, &mut memory).unwrap();
    for hook in ["encode", "decode", "plan", "accepted", "rejected", "decode-catch-up"] {
        assert_eq!(count(&memory, hook), 1, "{hook}");
    }
    assert_eq!(memory.get(EntryKind::Bytes, "note"), Some(&Entry::Bytes(Arc::new(vec![2, 0, 0, 0]))));
}

#[test]
fn an_aggregator_of_the_sdk_takes_the_servers_step() {
    let mut memory = Memory::default();
    let base = Arc::new(vec![1.0; VALUES]);
    let mut aggregator = witness().aggregator(&layout(), "{}").unwrap();
    aggregator.begin(&RoundMeta { round: 1, rounds: 9, seed: 1, cohort: 2 }, base.clone(), &mut memory).unwrap();
    assert!(aggregator.finish(&mut memory).is_err(), "nothing was accepted");
    for client in 0..2 {
        let meta = UpdateMeta { client, examples: 1, loss: Some(1.0), norm: 1.0, tier: 0, rank: 0 };
        aggregator.accept(vec![0.25; VALUES].into(), &meta, &mut memory).unwrap();
    }
    let sum = aggregator.finish(&mut memory).unwrap();
    assert_eq!(*sum, [0.5; VALUES]);
    assert_eq!(aggregator.step(1, base, sum, &mut memory).unwrap().as_slice(), [1.5; VALUES]);
    assert_eq!((count(&memory, "accept"), count(&memory, "step")), (2, 1));
}
