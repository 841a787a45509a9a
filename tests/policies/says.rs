//! Lines that a policy logs reach people: stripped, within limits, and as the reason of the trap that follows.

use std::sync::{Arc, LazyLock};

use cellm::policy::{LimitsConfig, Memory, Policy, PolicyConfig, PolicyError, PolicyHost, RoundMeta, UpdateMeta};

use crate::life::context;
use crate::support::layout;

static HOST: LazyLock<PolicyHost> =
    LazyLock::new(|| PolicyHost::new(&LimitsConfig::default(), &PolicyConfig::default()).unwrap());

fn witness() -> Arc<Policy> {
    HOST.load_bytes("witness", include_bytes!("../fixtures/witness.wasm")).unwrap()
}

/// Encodes twice with one instance; the second message.
fn encoded(policy: &Arc<Policy>, mischief: &str) -> Result<Arc<Vec<f32>>, PolicyError> {
    let options = format!(r#"{{"mischief":"{mischief}"}}"#);
    let mut compressor = policy.compressor(&layout(), &options)?;
    let values = Arc::new(vec![1.0; layout().values()]);
    let memory = &mut Memory::default();
    compressor.encode(&context(), values.clone(), values.clone(), memory)?;
    let message = compressor.encode(&context(), values.clone(), values.clone(), memory)?;
    compressor.decode(&context(), message, values, memory)
}

#[test]
fn a_panic_in_rust_says_its_words_and_its_place() {
    let error = encoded(&witness(), "panic").unwrap_err().to_string();
    let place = "policy witness trapped in encode: panicked at plugins/witness/src/mischief.rs:";
    assert!(error.starts_with(place), "{error}");
    assert!(error.contains("encode will not \u{fffd}]0;go on") && error.contains("unreachable"), "{error}");
    assert!(!error.contains(char::is_control), "{error:?}");
}

#[test]
fn a_panic_in_the_aggregator_is_no_typed_error_and_the_memory_stays_as_it_was() {
    let policy = witness();
    let mut aggregator = policy.aggregator(&layout(), r#"{"mischief":"panic"}"#).unwrap();
    let (round, memory) = (RoundMeta { round: 1, rounds: 2, seed: 1, cohort: 2 }, &mut Memory::default());
    let base = Arc::new(vec![0.0; layout().values()]);
    aggregator.begin(&round, base.clone(), memory).unwrap();
    let before = memory.written();
    let meta = UpdateMeta { client: 0, examples: 1, loss: None, norm: 1.0, tier: 0, rank: 0 };
    let error = aggregator.accept(base.clone(), &meta, memory).unwrap_err();
    assert!(!error.is_typed() && error.to_string().contains("accept will not"), "{error}");
    assert!(aggregator.poisoned() && memory.written() == before);
    let mut fresh = policy.aggregator(&layout(), "{}").unwrap();
    let lost = fresh.accept(base.clone(), &meta, memory).unwrap_err();
    assert!(matches!(lost, PolicyError::Poisoned { hook: "accept", .. }), "an empty sum must not go on: {lost}");
}

#[test]
fn lines_are_counted_and_shortened_and_a_flood_costs_nothing() {
    let policy = witness();
    encoded(&policy, "say").unwrap();
    let expected = "2 lines, the first: \u{fffd}[2Jencode number 1; \u{fffd}[2Jencode number 2";
    assert_eq!(policy.log.summary().as_deref(), Some(expected));
    let policy = witness();
    encoded(&policy, "flood").unwrap();
    assert_eq!(policy.log.summary().as_deref(), Some("20000 lines, the first: line 0; line 1; line 2"));
    let policy = witness();
    encoded(&policy, "giant").unwrap();
    let said = policy.log.summary().unwrap();
    assert!(said.len() < 2100 && said.ends_with("ggg ..."), "{}", said.len());
}

#[test]
fn a_variable_of_the_policy_shows_in_a_second_message_of_one_instance() {
    let policy = witness();
    assert!(!policy.built_in, "so that in a run it has none");
    assert_eq!(encoded(&policy, "variable").unwrap()[0], 2.0);
}
