//! Misdeeds with what a hook is given or gives back, lies of a description, and floats that must be the same everywhere.

use crate::support::{all_fail, all_pass, component, ordeal};

#[test]
fn what_a_policy_writes_into_a_message_is_limited() {
    all_fail(&[
        ("encode:output", "limit 4194304 (limits.output_mb)"),
        ("encode:parts", "101 parts, limit 100 (limits.parts)"),
        ("encode-catch-up:output", "limit 4194304 (limits.output_mb)"),
        ("encode-catch-up:parts", "101 parts, limit 100 (limits.parts)"),
        ("encode:take", "this message is being written"),
        ("decode:put", "this message was received"),
        ("decode:left-over", "took 0 of the 1 parts"),
        ("decode-catch-up:left-over", "took 0 of the 1 parts"),
    ]);
}

#[test]
fn results_of_another_length_or_space_are_refused() {
    all_fail(&[
        ("decode:long", "returned 4097 values in decode, expected 4096"),
        ("decode:short", "returned 4095 values"),
        ("decode:empty", "returned 0 values"),
        ("finish:long", "returned 4097 values"),
        ("finish:empty", "returned 0 values"),
        ("step:short", "returned 4095 values"),
        ("plan:space", "coordinates below 4097 in plan, expected 4096"),
    ]);
    all_pass(&["plan:some"]);
}

#[test]
fn handles_that_a_policy_does_not_own_are_traps() {
    all_fail(&[
        ("decode:foreign", "unknown handle"),
        ("decode:dropped", "unknown handle"),
        ("decode:lent", "handle"),
        ("decode:set-as-vector", "handle index"),
        ("finish:foreign", "unknown handle"),
        ("plan:foreign", "unknown handle"),
        ("encode:drop-lent", "trapped"),
    ]);
}

#[test]
fn callers_do_not_see_what_a_policy_writes_to_a_lent_vector() {
    all_pass(&["encode:spoil", "encode:leak"]);
}

#[test]
fn values_that_are_no_numbers_pass_the_host_and_stop_at_the_wire() {
    all_pass(&["encode:nan", "decode:nan", "finish:nan", "step:nan"]);
}

#[test]
fn a_description_that_lies_is_refused_on_loading() {
    for (lie, expected) in [
        ("no-name", "its name is empty"),
        ("long-name", "its name has 65 bytes, limit 64"),
        ("odd-name", "allowed are letters"),
        ("no-version", "its version is empty"),
        ("odd-version", "expected three numbers"),
        ("long-about", "its about has 1048576 bytes, limit 2000"),
        ("giant-about", "limit of 4194304 bytes"),
        ("odd-about", "control character"),
        ("option-twice", "two options act"),
        ("option-nameless", "the name of an option is empty"),
        ("option-setting", "has the name of a setting"),
        ("options-many", "its options are 65, limit 64"),
        ("options-flood", "in describe"),
        ("default-kind", "the default of option act"),
        ("default-word", "the default of option act"),
        ("default-share", "NaN"),
        ("no-choice", "a choice of no words"),
        ("choice-flood", "limit of 4194304 bytes"),
    ] {
        let error = ordeal(lie, &component(&format!("describe:lie-{lie}"))).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains(lie), "{lie}: {error}, expected: {expected}");
        assert!(error.len() < 1000, "{lie}: {} bytes of text", error.len());
    }
}

#[test]
fn floats_have_the_same_bits_on_every_machine() {
    let error = ordeal("floats", &component("encode:floats")).unwrap_err().to_string();
    let expected = "7fc00000 7fc00000 7fc00000 37873ad555555555 7fc00000 7fc00000 7fc00000 7fc00000 3";
    assert!(error.contains(expected), "{error}");
}
