//! `--json` on every command: the last line of stdout is one JSON object, also where the command fails.

use std::path::Path;

use serde_json::Value;

use crate::support::{cellm, last_json, small_run, stderr};

/// An experiment of one cell that trains nothing.
const GRID: &str = "seeds = [1]\n[methods.dense]\ndownload = { policy = \"dense\", bits = 32 }\n[run]\nrounds = 1\n\
                    [server]\ncohort = 2\neval_every = 0\n[client]\ntrainer = \"noop\"\n";

fn object(dir: &Path, words: &[&str], code: i32) -> Value {
    let output = cellm(words).arg("--json").current_dir(dir).output().unwrap();
    assert_eq!(output.status.code(), Some(code), "{words:?}: {}", stderr(&output));
    let object = last_json(&output);
    assert!(object.is_object(), "{words:?}: {object}");
    object
}

#[test]
fn every_command_prints_one_object_last() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let output = small_run(&at.join("run"), &["--set", "run.rounds=1"]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let summary = last_json(&output);
    assert_eq!(
        (&summary["completed"], &summary["dropped"], &summary["metric"]),
        (&4.into(), &0.into(), &"token accuracy".into())
    );
    assert!(summary["eval_loss_after"].is_null() && summary["rounds_without_quorum"] == 0, "{summary}");
    std::fs::write(at.join("grid.toml"), GRID).unwrap();
    std::fs::write(at.join("a.txt"), "Once upon a time there was a ball.\n\nThe ball was red.\n").unwrap();
    // The words, a key of the object, and whether it is a list.
    for (words, key, is_list) in [
        (&["eval", "--set", "data.path=a.txt"][..], "eval_loss", false),
        (&["export", "--run", "run", "--to", "adapter"], "to", false),
        (&["report", "run"], "report", false),
        (&["report", "run", "run", "--to", "both.md"], "runs", true),
        (&["experiment", "grid.toml", "--dry-run", "--out", "e"], "studies", true),
        (&["experiment", "grid.toml", "--out", "e"], "cells", false),
        (&["plugin", "list"], "policies", true),
        (&["plugin", "inspect", "flasc"], "options", true),
        (&["plugin", "new", "mine", "--lang", "c"], "source", false),
        (&["plugin", "check", "dense"], "rules", true),
        (&["data", "inspect"], "clients", true),
        (&["config", "show"], "origins", false),
        (&["config", "keys"], "keys", true),
        (&["doctor"], "checks", true),
        (&["enroll", "init", "fed"], "federation", false),
        (&["enroll", "add", "fed", "a"], "credentials", false),
        (&["enroll", "list", "fed"], "clients", true),
        (&["enroll", "revoke", "fed", "a"], "revoked", false),
    ] {
        let found = object(at, words, 0);
        assert_eq!(found.get(key).map(Value::is_array), Some(is_list), "{words:?} has {key}: {found}");
    }
    let show = object(at, &["config", "show", "--set", "server.lr=0.1"], 0);
    assert_eq!((&show["config"]["server"]["lr"], &show["origins"]["server.lr"]), (&0.1.into(), &"--set".into()));
}

#[test]
fn a_command_that_fails_says_so_in_its_object() {
    let dir = tempfile::tempdir().unwrap();
    for (words, code, said) in [
        (&["run", "--set", "run.rounds=0"][..], 2, "run.rounds is 0"),
        (&["eval", "--set", "data.path=none.txt"], 3, "none.txt"),
        (&["plugin", "inspect", "none"], 4, "none"),
        (&["report", "none"], 2, "none"),
        (&["export", "--run", "none", "--to", "x"], 2, "none"),
        (&["enroll", "add", "none", "a"], 2, "holds no federation"),
        (&["server"], 2, "link.enrolment is not set"),
        (&["server", "status", "--out", "none"], 1, "none"),
        (&["client", "--credentials", "none.creds"], 2, "none.creds"),
    ] {
        let found = object(dir.path(), words, code);
        assert!(found["error"].as_str().unwrap().contains(said) && found["exit_code"] == code, "{words:?}: {found}");
    }
    let failed = object(dir.path(), &["doctor", "--set", "data.path=none.txt"], 3);
    assert!(failed["checks"].as_array().unwrap().iter().any(|check| check["verdict"] == "failed"), "{failed}");
}
