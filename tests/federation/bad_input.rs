//! Each kind of bad input: one message with the guilty part and both values, and the right exit code.

use std::fs;
use std::path::Path;

use crate::support::{cellm, last_json, lines, stderr};

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
    expect(&["lora.rank=4294967295"], 2, &["lora.rank", "4294967295", "4096"]);
    expect(&["run.threads=1000000"], 2, &["run.threads", "1000000", "1024"]);
    expect(&["server.deadline_s=1e20"], 2, &["server.deadline_s", "100000000000000000000", "31536000"]);
    expect(&["client.learning_rate=1"], 2, &["client.learning_rate", "`client.lr`"]);
}

#[test]
fn a_port_in_use_or_an_address_that_is_none_leaves_nothing_behind() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    let run = |listen: &str| {
        let mut command =
            cellm(&["run", "--set", "run.rounds=1", "--set", &format!("metrics.listen={listen}"), "--out"]);
        let output = command.arg(dir.path().join("a/b/run")).output().unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "{listen} left something");
        (output.status.code(), stderr(&output))
    };
    let (code, text) = run(&address);
    assert!(code == Some(2) && text.contains(&format!("cannot serve metrics on `{address}`")), "{text}");
    assert!(!text.contains("panic"), "{text}");
    for listen in ["9464", ":9464", "127.0.0.1"] {
        let (code, text) = run(listen);
        assert!(code == Some(2) && text.contains(listen) && text.contains("127.0.0.1:9464"), "{text}");
    }
}

#[test]
fn a_config_and_an_experiment_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.toml");
    fs::write(&file, "[methods.dense]\n").unwrap();
    let output = cellm(&["run", "--config"]).arg(&file).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains(&format!("cellm experiment {}", file.display())), "{}", stderr(&output));
    fs::write(&file, "[run]\nrounds = 1\n").unwrap();
    let output = cellm(&["experiment"]).arg(&file).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains(&format!("cellm run --config {}", file.display())), "{}", stderr(&output));
}

#[test]
fn what_has_no_effect_is_said_before_the_first_round_and_by_the_doctor() {
    let dir = tempfile::tempdir().unwrap();
    let set = ["--set", "partition.alpha=0.3", "--set", "data.max_tokens=4096"];
    let mut command = cellm(&["run", "--set", "run.rounds=1", "--set", "server.cohort=2", "--set", "client.steps=1"]);
    let output = command
        .args(["--set", "server.eval_every=0"])
        .args(set)
        .arg("--out")
        .arg(dir.path().join("run"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let idle = "partition.alpha has no effect: partition.kind is natural-id";
    let cut = "data.max_tokens is 4096, the model has 512 positions";
    assert!(stderr(&output).contains(idle) && stderr(&output).contains(cut), "{}", stderr(&output));
    let output = cellm(&["doctor"]).args(set).current_dir(dir.path()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains(idle) && text.contains(cut), "{text}");
}

#[test]
fn a_run_whose_last_round_changes_nothing_is_no_success() {
    let dir = tempfile::tempdir().unwrap();
    let run = |name: &str, more: &[String]| {
        let mut command = cellm(&["run", "-q", "--json", "--out"]);
        command.arg(dir.path().join(name));
        let made_up = ["client.trainer=noop", "server.cohort=1", "server.eval_every=0"].map(String::from);
        for set in made_up.iter().chain(more) {
            command.args(["--set", set]);
        }
        command.output().unwrap()
    };
    let whole = run("whole", &["run.rounds=6".into()]);
    assert!(whole.status.success(), "{}", stderr(&whole));
    let rows = lines(&dir.path().join("whole/metrics.jsonl"));
    let norm = |round: usize| rows[round]["update_norm"].as_f64().unwrap();
    // A norm that this round's only update is above and that of the round before is below.
    let last = (2..=3).find(|round| norm(*round) > norm(round - 1)).expect("made-up norms fall, choose another seed");
    let limit = (norm(last) + norm(last - 1)) / 2.0;
    let ended = run("vain", &[format!("run.rounds={last}"), format!("server.max_update_norm={limit}")]);
    assert_eq!(ended.status.code(), Some(1), "{}", stderr(&ended));
    let said = format!("the last 1 of {last} rounds missed their quorum and changed nothing");
    assert!(stderr(&ended).contains(&said), "{}", stderr(&ended));
    let summary = last_json(&ended);
    assert_eq!(summary["last_rounds_without_quorum"], 1, "{summary}");
    assert!(summary["dropped"].as_u64().unwrap() >= 1 && summary["completed"].as_u64().unwrap() >= 1, "{summary}");
    let rows = lines(&dir.path().join("vain/metrics.jsonl"));
    assert_eq!((&rows[last]["completed"], &rows[last]["quorum"]), (&0.into(), &1.into()));
    let page = fs::read_to_string(dir.path().join("vain/report.html")).unwrap();
    assert!(page.contains("Rounds without a quorum") && page.contains("missed its quorum of 1"), "the report says it");
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
