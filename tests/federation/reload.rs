//! `policy.watch`: a component's file changes while the run goes on, and the next round is served by what it holds then.

use std::path::{Path, PathBuf};

use cellm::config::Config;
use cellm::federation::{FederationError, Progress, Summary};
use serde_json::Value;

use crate::support::{lines, run, run_again, run_watched, small};

/// A run whose two directions are served by the component in `file`.
fn watching(file: &Path, rounds: u32) -> Config {
    let mut config = small();
    config.run.rounds = rounds;
    config.policy.watch = true;
    config.download.policy = file.display().to_string();
    config.upload.policy = file.display().to_string();
    config
}

/// Puts a built-in component in the file's place, whole or not at all.
fn put(name: &str, file: &Path) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins/prebuilt").join(format!("{name}.wasm"));
    let beside = file.with_extension("new");
    std::fs::copy(from, &beside).unwrap();
    std::fs::rename(beside, file).unwrap();
}

/// Puts the component there with a section that means nothing behind it: the same code, another hash.
fn put_variant(name: &str, file: &Path) {
    put(name, file);
    let mut bytes = std::fs::read(file).unwrap();
    // A custom section: number 0, 6 bytes, a name of 4 letters, one byte.
    bytes.extend(b"\x00\x06\x04note!");
    let beside = file.with_extension("new");
    std::fs::write(&beside, bytes).unwrap();
    std::fs::rename(beside, file).unwrap();
}

/// `[download, upload, aggregate]` of every row.
fn policies(run_dir: &Path) -> Vec<[String; 3]> {
    let rows = lines(&run_dir.join("metrics.jsonl"));
    let of = |row: &Value, role: &str| row["policies"][role].as_str().unwrap().to_owned();
    rows.iter().map(|row| ["download", "upload", "aggregate"].map(|role| of(row, role))).collect()
}

/// Runs; `change` is done once round 1 is closed. Also what was noted and what was warned of.
async fn changed_in_the_middle(
    config: Config,
    run_dir: &Path,
    change: impl Fn(),
) -> (Summary, Vec<String>, Vec<String>) {
    let (mut notes, mut warnings) = (Vec::new(), Vec::new());
    let summary = run_watched(config, run_dir, |event| match event {
        Progress::Round(row) if row.round == 1 => change(),
        Progress::Note(note) => notes.push(note.clone()),
        Progress::Warning(warning) => warnings.push(warning.clone()),
        _ => {}
    });
    let summary = summary.await.unwrap();
    (summary, notes, warnings)
}

fn place() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let (file, run_dir) = (dir.path().join("policy.wasm"), dir.path().join("run"));
    put("dense", &file);
    (dir, file, run_dir)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_replaced_in_the_middle_serves_the_rounds_after_it() {
    let (_dir, file, run_dir) = place();
    let mut config = watching(&file, 6);
    (config.upload.error_feedback, config.download.error_feedback) = (true, true);
    let (summary, notes, _) = changed_in_the_middle(config, &run_dir, || put("flasc", &file)).await;
    assert_eq!((summary.rounds, summary.interrupted), (6, false));
    let rows = policies(&run_dir);
    let dense = rows.iter().take_while(|row| row[0].starts_with("dense@")).count();
    assert!((2..rows.len()).contains(&dense), "{rows:?}");
    assert!(rows[dense..].iter().all(|row| row[0].starts_with("flasc@")), "{rows:?}");
    // One file for both directions, in one round; the aggregation is another's.
    assert!(rows.iter().all(|row| row[0] == row[1] && row[2] == rows[0][2]), "{rows:?}");
    let told = format!("download policy {} is now {}", rows[0][0], rows[dense][0]);
    assert!(notes.contains(&told), "{notes:?}");
    let completed: Vec<_> = lines(&run_dir.join("metrics.jsonl")).iter().map(|row| row["completed"].clone()).collect();
    assert_eq!(completed, [0, 4, 4, 4, 4, 4, 4]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_code_in_another_file_goes_on_as_if_nothing_had_happened() {
    let (dir, file, run_dir) = place();
    put("flasc", &file);
    let mut config = watching(&file, 5);
    config.server.cohort = 12;
    (config.upload.error_feedback, config.download.error_feedback) = (true, true);
    let undisturbed = run(config.clone(), &dir.path().join("undisturbed")).await.unwrap();
    let (summary, ..) = changed_in_the_middle(config, &run_dir, || put_variant("flasc", &file)).await;
    let rows = policies(&run_dir);
    assert_ne!(rows[0][1], rows[5][1]);
    assert_eq!(summary.adapter_hash, undisturbed.adapter_hash);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_does_not_load_leaves_the_policies_as_they_are() {
    let (_dir, file, run_dir) = place();
    let spoil = || {
        let beside = file.with_extension("new");
        std::fs::write(&beside, b"no component").unwrap();
        std::fs::rename(beside, &file).unwrap();
    };
    let (summary, notes, warnings) = changed_in_the_middle(watching(&file, 5), &run_dir, spoil).await;
    assert_eq!((summary.rounds, notes.len()), (5, 0));
    let rows = policies(&run_dir);
    assert!(rows.iter().all(|row| *row == rows[0]), "{rows:?}");
    let kept: Vec<_> = warnings.iter().filter(|warning| warning.contains("stay as they are")).collect();
    assert!(matches!(&kept[..], [one] if one.contains("policy.wasm")), "{warnings:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_that_fails_in_its_first_exchange_leaves_the_policies_as_they_are() {
    let (_dir, file, run_dir) = place();
    let mut hostile = std::fs::read(crate::support::fixture("hostile.wasm")).unwrap();
    let marker = b"cellm-hostile-act:";
    let at = hostile.windows(marker.len()).position(|window| window == marker).unwrap() + marker.len();
    let act = b"decode:trap.......";
    hostile[at..at + act.len()].copy_from_slice(act);
    let spoil = || {
        let beside = file.with_extension("new");
        std::fs::write(&beside, &hostile).unwrap();
        std::fs::rename(beside, &file).unwrap();
    };
    let (summary, _, warnings) = changed_in_the_middle(watching(&file, 5), &run_dir, spoil).await;
    assert_eq!(summary.rounds, 5);
    let rows = policies(&run_dir);
    assert!(rows.iter().all(|row| *row == rows[0]), "{rows:?}");
    let kept: Vec<_> = warnings.iter().filter(|warning| warning.contains("stay as they are")).collect();
    assert!(matches!(&kept[..], [one] if one.contains("hostile") && one.contains("trapped in decode")), "{warnings:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_watch_a_changed_file_counts_for_nothing() {
    let (_dir, file, run_dir) = place();
    let mut config = watching(&file, 4);
    config.policy.watch = false;
    changed_in_the_middle(config, &run_dir, || put("flasc", &file)).await;
    let rows = policies(&run_dir);
    assert!(rows.iter().all(|row| *row == rows[0]), "{rows:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_run_that_watches_is_resumed_with_another_component() {
    let (_dir, file, run_dir) = place();
    run(watching(&file, 2), &run_dir).await.unwrap();
    put("flasc", &file);
    let mut config = watching(&file, 4);
    config.policy.watch = false;
    let refused = run_again(config.clone(), &run_dir).await.unwrap_err();
    assert!(matches!(&refused, FederationError::Differs { .. }), "{refused}");
    assert!(refused.to_string().contains("config.policies.upload"), "{refused}");
    config.policy.watch = true;
    assert_eq!(run_again(config, &run_dir).await.unwrap().rounds, 4);
    let served: Vec<String> = policies(&run_dir).into_iter().map(|[_, upload, _]| upload).collect();
    let names: Vec<&str> = served.iter().map(|served| served.split('@').next().unwrap()).collect();
    assert_eq!(names, ["dense", "dense", "dense", "flasc", "flasc"]);
}
