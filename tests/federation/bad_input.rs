//! Each kind of bad input: one message with the guilty part and both values, and the right exit code.

use std::fs;
use std::path::Path;

use crate::support::{cellm, stderr};

/// Runs with `settings` and returns the exit code and what stderr says.
fn refused(settings: &[&str]) -> (i32, String) {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let mut command = cellm(&["run", "--set", "run.rounds=1", "--out"]);
    command.arg(&out);
    for setting in settings {
        command.args(["--set", setting]);
    }
    let output = command.output().unwrap();
    assert!(!out.join("journal").exists(), "a run that did not begin leaves no journal");
    (output.status.code().unwrap_or(-1), stderr(&output))
}

#[track_caller]
fn expect(settings: &[&str], code: i32, words: &[&str]) {
    let (found, text) = refused(settings);
    assert_eq!(found, code, "{settings:?}: {text}");
    for word in words {
        assert!(text.contains(word), "{settings:?} should say {word}: {text}");
    }
    assert!(!text.contains("panicked"), "{text}");
}

#[test]
fn settings_outside_their_range_are_refused_with_both_values() {
    expect(&["upload.density=0"], 2, &["upload.density", "0", "(0, 1]"]);
    expect(&["download.density=1.5"], 2, &["download.density", "1.5", "(0, 1]"]);
    expect(&["upload.densty=0.5"], 2, &["densty", "density"]);
    expect(&["server.cohort=25"], 2, &["cohort", "25", "24"]);
    expect(&["lora.targets=[\"x_proj\"]"], 3, &["x_proj", "q_proj"]);
    expect(&["upload.bits=12"], 2, &["12", "16"]);
    expect(&["model.device=tpu"], 2, &["tpu", "cuda:N"]);
}

#[test]
fn policies_that_are_not_there_or_not_policies_are_refused_by_name() {
    expect(&["upload.policy=nosuch"], 4, &["nosuch", "flasc"]);
    expect(&["aggregate.policy=flasc"], 4, &["flasc", "aggregator"]);
    expect(&["upload.options={nosuch=1}"], 4, &["flasc", "nosuch", "reference"]);
    let dir = tempfile::tempdir().unwrap();
    let garbage = dir.path().join("garbage.wasm");
    fs::write(&garbage, b"not a component").unwrap();
    expect(&[&format!("upload.policy={}", garbage.display())], 4, &["garbage.wasm"]);
}

/// The bundled model's files, one of them changed.
fn model_with(dir: &Path, file: &str, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> String {
    let bundled = Path::new(env!("CARGO_MANIFEST_DIR")).join("engine/trainer/bundled/stories260k");
    for name in ["config.json", "model.safetensors", "tokenizer.json"] {
        fs::copy(bundled.join(name), dir.join(name)).unwrap();
    }
    let changed = change(fs::read(dir.join(file)).unwrap());
    fs::write(dir.join(file), changed).unwrap();
    format!("model.path={}", dir.display())
}

#[test]
fn broken_models_are_refused_by_file() {
    let dir = tempfile::tempdir().unwrap();
    expect(&[&format!("model.path={}/nosuch", dir.path().display())], 3, &["nosuch"]);
    let cut = model_with(dir.path(), "model.safetensors", |bytes| bytes[..bytes.len() / 2].to_vec());
    expect(&[&cut], 3, &["model.safetensors"]);
    let json = model_with(dir.path(), "config.json", |_| b"{".to_vec());
    expect(&[&json], 3, &["config.json"]);
    let replace = |from: &'static str, to: &'static str| {
        move |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(from, to).into_bytes()
    };
    let family = model_with(dir.path(), "config.json", replace("\"llama\"", "\"mamba\""));
    expect(&[&family], 3, &["mamba", "llama"]);
    let shape =
        model_with(dir.path(), "config.json", replace("\"intermediate_size\": 172", "\"intermediate_size\": 170"));
    expect(&[&shape], 3, &["172", "170"]);
    let vocabulary = model_with(dir.path(), "config.json", replace("\"vocab_size\": 512", "\"vocab_size\": 256"));
    expect(&[&vocabulary], 3, &["512", "256"]);
}

#[test]
fn broken_data_is_refused_by_file_and_line() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data.jsonl");
    let file = format!("data.path={}", data.display());
    let iid = ["partition.kind=iid", "partition.clients=2", "server.cohort=2"];
    let with = |settings: &[&'static str]| -> Vec<String> {
        iid.iter().chain(settings).map(|setting| (*setting).to_owned()).chain([file.clone()]).collect()
    };
    let expect_with = |settings: &[&'static str], words: &[&str]| {
        let all = with(settings);
        expect(&all.iter().map(String::as_str).collect::<Vec<_>>(), 3, words);
    };
    expect_with(&[], &["data.jsonl"]);
    fs::write(&data, "{\"text\":\"a good line\"}\nnot json\n").unwrap();
    expect_with(&[], &["data.jsonl", "line 2"]);
    fs::write(&data, "{\"words\":\"a good line\"}\n").unwrap();
    expect_with(&[], &["text", "words"]);
    fs::write(&data, "{\"text\":\"only one record\"}\n").unwrap();
    expect_with(&[], &["1", "2"]);
}
