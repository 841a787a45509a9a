//! Misdeeds in every hook: those that never end, that trap, that take or remember too much, and refusals.

use std::sync::Arc;

use cellm::policy::{EntryKind, Memory};

use crate::life::context;
use crate::support::{HOST, all_fail, all_pass, component, layout, ordeal};

const HOOKS: [&str; 11] = [
    "init",
    "encode",
    "decode",
    "plan",
    "on-ack",
    "encode-catch-up",
    "decode-catch-up",
    "begin",
    "accept",
    "finish",
    "step",
];

/// The deed in each of these hooks, with what the error must say.
fn in_hooks(hooks: &[&str], deed: &str, expected: &str) {
    let acts: Vec<String> = hooks.iter().map(|hook| format!("{hook}:{deed}")).collect();
    let acts: Vec<(&str, &str)> = acts.iter().map(|act| (act.as_str(), expected)).collect();
    all_fail(&acts);
}

#[test]
fn a_loop_without_end_meets_the_deadline_in_every_hook() {
    in_hooks(&["start", "describe"], "loop", "ran past its deadline");
    in_hooks(&HOOKS, "loop", "limit 200 ms (limits.deadline_ms)");
}

#[test]
fn a_trap_is_reported_in_every_hook() {
    in_hooks(&["start", "describe"], "trap", "trapped");
    in_hooks(&HOOKS, "trap", "unreachable");
}

#[test]
fn endless_recursion_ends_in_the_guest() {
    in_hooks(&["start", "describe", "encode", "finish"], "recursion", "trapped");
}

#[test]
fn storms_of_host_calls_meet_the_deadline() {
    all_fail(&[
        ("describe:host-loop", "ran past its deadline"),
        ("encode:host-loop", "ran past its deadline"),
        ("accept:vector-storm", "ran past its deadline"),
        ("decode:top-k-storm", "ran past its deadline"),
        ("plan:forget-storm", "ran past its deadline"),
        ("step:normal-storm", "deadline"),
    ]);
}

#[test]
fn bombs_of_memory_meet_one_limit_in_the_guest_and_in_the_host() {
    in_hooks(&["start", "describe", "init", "plan", "step"], "memory", "(limits.memory_mb)");
    all_fail(&[
        ("encode:vectors", "limit 33554432 (limits.memory_mb)"),
        ("decode:sets", "(limits.memory_mb)"),
        ("on-ack:list", "(limits.memory_mb)"),
        ("describe:vectors", "(limits.memory_mb)"),
        ("begin:vector-max", "(limits.memory_mb)"),
        ("accept:uniform-max", "(limits.memory_mb)"),
        ("finish:runs-max", "(limits.memory_mb)"),
        ("encode-catch-up:complement-max", "(limits.memory_mb)"),
        ("decode-catch-up:normal-max", "deadline_ms"),
    ]);
}

#[test]
fn floods_of_handles_meet_their_limit() {
    all_fail(&[
        ("start:handles", "limit 50 (limits.handles)"),
        ("describe:handles", "limit 50 (limits.handles)"),
        ("encode:handles", "limit 50 (limits.handles)"),
        ("accept:codes", "limit"),
    ]);
}

#[test]
fn what_a_policy_remembers_is_limited() {
    all_fail(&[
        ("encode:state-many", "limit 2097152 (limits.state_mb)"),
        ("plan:state-vectors", "limit 2097152 (limits.state_mb)"),
        ("step:state-huge", "limit 2097152 (limits.state_mb)"),
        ("accept:state-bytes", "limit 2097152 (limits.state_mb)"),
        ("on-ack:state-long-key", "a key of 257 bytes, limit 256"),
        ("finish:state-giant-key", "limit of 4210688 bytes"),
        ("decode:state-fails", "after writing"),
        ("begin:state-traps", "trapped"),
        ("init:state-keeps", "host.save: this hook has no memory"),
        ("describe:state-keeps", "host.save: this hook has no memory"),
    ]);
    all_pass(&["encode:state-keeps", "step:state-keeps", "on-ack:state-keeps"]);
}

#[test]
fn refusals_are_typed_and_cut_to_a_bearable_length() {
    in_hooks(
        &[
            "init",
            "encode",
            "decode",
            "plan",
            "encode-catch-up",
            "decode-catch-up",
            "begin",
            "accept",
            "finish",
            "step",
        ],
        "refuse",
        "not today",
    );
    all_fail(&[("encode:long-error", "eee ..."), ("finish:giant-error", "limit of 4210688 bytes")]);
    let error = ordeal("bad", &component("init:bad-option")).unwrap_err().to_string();
    assert!(error.contains("ooo ...") && error.len() < 2000, "{error}");
}

#[test]
fn what_a_hook_that_fails_wrote_is_gone_and_what_was_there_stays() {
    for (act, poisons) in [("encode:state-fails", false), ("encode:state-traps", true), ("encode:state-huge", true)] {
        let policy = HOST.load_bytes(act, &component(act)).unwrap();
        let mut compressor = policy.compressor(&layout(), "{}").unwrap();
        let values = Arc::new(vec![0.0; layout().values()]);
        let mut memory = Memory::default();
        for _ in 0..2 {
            compressor.encode(&context(), values.clone(), values.clone(), &mut memory).unwrap_err();
            assert!(memory.written().is_empty(), "{act}");
        }
        assert_eq!(compressor.poisoned(), poisons, "{act}");
    }
    let policy = HOST.load_bytes("keeps", &component("encode:state-keeps")).unwrap();
    let mut compressor = policy.compressor(&layout(), "{}").unwrap();
    let values = Arc::new(vec![0.0; layout().values()]);
    let mut memory = Memory::default();
    compressor.encode(&context(), values.clone(), values, &mut memory).unwrap();
    assert!(memory.get(EntryKind::Vector, "kept").is_some() && memory.get(EntryKind::Bytes, "kept").is_some());
    assert!(!memory.written().is_empty());
}
