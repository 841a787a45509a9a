//! Policies that misbehave, and what stops them. The component is `plugins/hostile`.

use std::fs;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use super::tests::{context, host, layout};
use super::*;

const BYTES: &[u8] = include_bytes!("../../tests/fixtures/hostile.wasm");
const VALUES: usize = 100_000;

static HOSTILE: LazyLock<Arc<Policy>> = LazyLock::new(|| {
    let limits = LimitsConfig {
        memory_mb: 32,
        deadline_ms: 300,
        output_mb: 4,
        parts: 100,
        handles: 50,
        state_mb: 1,
        ..LimitsConfig::default()
    };
    host(&limits).load_bytes("hostile", BYTES).unwrap()
});

fn instance(act: &str) -> CompressorInstance {
    HOSTILE.compressor(&layout(VALUES), &format!(r#"{{"act":"{act}"}}"#)).unwrap()
}

fn encode(instance: &mut CompressorInstance) -> Result<crate::adapter::Message, PolicyError> {
    let values = Arc::new(vec![1.0; VALUES]);
    instance.encode(&context(Direction::Upload, 1), values.clone(), values, &mut Memory::default())
}

/// Encodes once, expects a breakdown and that the instance is finished after it.
fn breakdown(act: &str) -> PolicyError {
    let mut hostile = instance(act);
    let error = encode(&mut hostile).unwrap_err();
    assert!(hostile.poisoned(), "{error}");
    assert!(matches!(encode(&mut hostile), Err(PolicyError::Poisoned { .. })));
    assert!(error.to_string().contains("policy hostile") && error.to_string().contains("in encode"), "{error}");
    error
}

#[test]
fn loops_without_end_meet_the_deadline() {
    for act in ["loop", "host-loop"] {
        let started = Instant::now();
        assert!(matches!(breakdown(act), PolicyError::Deadline { limit_ms: 300, .. }));
        assert!(started.elapsed().as_secs() < 20);
    }
}

#[test]
fn memory_bombs_meet_one_limit_inside_and_in_the_host() {
    for act in ["memory", "vectors"] {
        let error = breakdown(act);
        assert!(matches!(error, PolicyError::Memory { limit: 33_554_432, .. }), "{error}");
    }
}

#[test]
fn a_flood_of_handles_is_stopped() {
    assert!(matches!(breakdown("handles"), PolicyError::Handles { limit: 50, .. }));
}

#[test]
fn leaks_from_call_to_call_are_stopped_too() {
    let mut hostile = instance("leak");
    let failed = (0..1000).find_map(|_| encode(&mut hostile).err());
    assert!(matches!(failed, Some(PolicyError::Handles { .. } | PolicyError::Memory { .. })), "{failed:?}");
}

#[test]
fn traps_and_endless_recursion_are_reported() {
    assert!(matches!(breakdown("trap"), PolicyError::Trapped { .. }));
    assert!(matches!(breakdown("recursion"), PolicyError::Trapped { .. }));
}

#[test]
fn huge_output_meets_its_limits() {
    let output = breakdown("output");
    assert!(matches!(output, PolicyError::Output { limit: 4_194_304, unit: "bytes", .. }), "{output}");
    assert!(matches!(breakdown("parts"), PolicyError::Output { limit: 100, unit: "parts", .. }));
    assert!(matches!(breakdown("list"), PolicyError::Memory { .. }));
}

#[test]
fn misuse_of_a_handle_names_the_call_and_the_values() {
    let error = breakdown("range").to_string();
    assert!(error.contains("vector.read: offset 99999 and count 2 reach beyond the length 100000"), "{error}");
}

#[test]
fn a_result_of_the_wrong_length_is_refused() {
    let mut hostile = instance("long");
    let message = encode(&mut hostile).unwrap();
    let start = Arc::new(vec![0.0; VALUES]);
    let error = hostile.decode(&context(Direction::Upload, 1), message, start, &mut Memory::default()).unwrap_err();
    assert!(matches!(error, PolicyError::WrongLength { found: 100_001, expected: VALUES, .. }), "{error}");
    assert!(!hostile.poisoned());
}

#[test]
fn typed_errors_leave_the_instance_usable() {
    let mut hostile = instance("indices");
    for _ in 0..100 {
        let error = encode(&mut hostile).unwrap_err().to_string();
        assert!(error.contains("index 4 is outside the space of 4"), "{error}");
    }
    let mut hostile = instance("refuse");
    let start = Arc::new(vec![0.0; VALUES]);
    for _ in 0..100 {
        let message = encode(&mut hostile).unwrap();
        let error =
            hostile.decode(&context(Direction::Upload, 1), message, start.clone(), &mut Memory::default()).unwrap_err();
        assert!(matches!(error, PolicyError::Rejected { .. }), "{error}");
    }
}

#[test]
fn a_policy_can_bring_its_own_kernel_and_the_callers_vector_is_untouched() {
    let values = Arc::new(vec![1.5; VALUES]);
    let mut own = instance("chunks");
    let message =
        own.encode(&context(Direction::Upload, 1), values.clone(), values.clone(), &mut Memory::default()).unwrap();
    assert!(
        matches!(&message.parts[0], crate::adapter::Part::Values { values, .. } if values.iter().all(|v| *v == 3.0))
    );
    assert!(values.iter().all(|value| *value == 1.5));
}

#[test]
fn a_policy_file_runs_like_a_built_in_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mine.wasm");
    fs::write(&path, BYTES).unwrap();
    let host = super::tests::host(&LimitsConfig::default());
    let policy = host.load(&path.to_string_lossy()).unwrap();
    assert_eq!((policy.name.as_str(), policy.hash), ("hostile", HOSTILE.hash));
}

#[test]
fn a_policy_needs_room_for_itself() {
    let host = super::tests::host(&LimitsConfig { memory_mb: 1, ..LimitsConfig::default() });
    assert!(matches!(host.load("dense"), Err(PolicyError::Memory { hook: "instantiate", .. })));
}
