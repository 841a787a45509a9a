//! Evaluation on a sample, of what a client would see alone, and its progress.

use std::path::Path;

use cellm::config::Config;
use cellm::federation::Progress;
use serde_json::Value;

use crate::support::{cellm, last_json, lines, run, run_again, run_watched, small, stderr};

fn evaluated() -> Config {
    let mut config = small();
    config.run.rounds = 2;
    (config.server.eval_every, config.server.eval_records) = (1, 70);
    config
}

fn column(run_dir: &Path, key: &str) -> Vec<Value> {
    lines(&run_dir.join("metrics.jsonl")).iter().map(|row| row[key].clone()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_round_is_evaluated_on_the_same_sample_also_after_a_resume() {
    let dir = tempfile::tempdir().unwrap();
    let place = |name: &str| dir.path().join(name);
    let mut seen = Vec::new();
    let run_dir = place("whole");
    let ended = run_watched(evaluated(), &run_dir, |event| {
        if let Progress::Evaluated { done, of } = event {
            seen.push((*done, *of));
        }
    });
    let whole = ended.await.unwrap();
    assert_eq!(seen, [(64, 70), (70, 70)].repeat(3));
    assert!(whole.eval_records == 70 && whole.held_out_records > 500, "{whole:?}");

    let mut one = evaluated();
    one.run.rounds = 1;
    run(one, &place("again")).await.unwrap();
    let again = run_again(evaluated(), &place("again")).await.unwrap();
    assert_eq!(again.adapter_hash, whole.adapter_hash);
    assert_eq!(column(&place("again"), "eval_loss"), column(&place("whole"), "eval_loss"));

    // A server that does not move the weights: what differs could only be the sample.
    let mut still = evaluated();
    still.server.lr = 1e-30;
    let still = run(still, &place("still")).await.unwrap();
    let losses = column(&place("still"), "eval_loss");
    assert!(losses[0].is_f64() && losses[1] == losses[0] && losses[2] == losses[0], "{losses:?} of {still:?}");

    let mut all = evaluated();
    all.server.eval_records = 0;
    let all = run(all, &place("all")).await.unwrap();
    assert_eq!((all.eval_records, &all.adapter_hash), (whole.held_out_records, &whole.adapter_hash));
    assert_ne!(column(&place("all"), "eval_loss")[0], losses[0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_dense_copy_is_evaluated_where_asked_for_and_changes_no_adapter() {
    let dir = tempfile::tempdir().unwrap();
    let without = run(evaluated(), &dir.path().join("without")).await.unwrap();
    assert!(column(&dir.path().join("without"), "eval_loss_dense_copy").iter().all(Value::is_null));
    let mut config = evaluated();
    config.server.eval_dense = true;
    let with = run(config, &dir.path().join("with")).await.unwrap();
    assert_eq!(with.adapter_hash, without.adapter_hash);
    let [seen, dense] = ["eval_loss", "eval_loss_dense_copy"].map(|key| column(&dir.path().join("with"), key));
    assert_eq!(seen, column(&dir.path().join("without"), "eval_loss"));
    assert!(seen[0] == dense[0] && dense[2].is_f64() && seen[2] != dense[2], "half of the values go down: {dense:?}");
}

#[test]
fn the_adapter_of_a_run_is_measured_on_the_sample_of_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let set = ["server.eval_every=1", "server.eval_records=20", "run.rounds=1"];
    let set: Vec<&str> = set.iter().flat_map(|setting| ["--set", setting]).collect();
    let ran = crate::support::small_run(&out, &set).output().unwrap();
    assert!(ran.status.success(), "{}", stderr(&ran));
    let ran = last_json(&ran);
    let measured = cellm(&["eval", "--json", "--run"]).arg(&out).output().unwrap();
    assert!(measured.status.success(), "{}", stderr(&measured));
    let measured = last_json(&measured);
    assert_eq!((&measured["records"], &ran["eval_records"]), (&20.into(), &20.into()));
    let [before, after] = [&ran["eval_loss_after"], &measured["eval_loss"]].map(|loss| loss.as_f64().unwrap());
    assert!((before - after).abs() < 1e-6 * before, "{before} is not {after}");
}
