//! kill -9, interrupts, a full disk, a damaged journal: nothing closed is lost, and the result is the same.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use cellm::journal::Journal;
use serde_json::Value;

use crate::support::{DEADLINE, last_json, lines, resume, small_run, stderr};

fn hash(summary: &Value) -> &str {
    summary["adapter_hash"].as_str().unwrap()
}

fn undisturbed(dir: &Path) -> String {
    let output = small_run(&dir.join("undisturbed"), &[]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    hash(&last_json(&output)).to_owned()
}

/// Waits until the run has closed `round`.
fn wait_for_round(out: &Path, round: usize, child: &mut Child) {
    let start = Instant::now();
    // Line 1 is round 0.
    while lines(&out.join("metrics.jsonl")).len() <= round {
        assert!(start.elapsed() < DEADLINE, "round {round} was not closed");
        assert!(child.try_wait().unwrap().is_none(), "the run ended before round {round} was closed");
        sleep(Duration::from_millis(2));
    }
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

#[test]
fn a_run_killed_at_any_moment_goes_on_to_the_same_adapter() {
    let dir = tempfile::tempdir().unwrap();
    let expected = undisturbed(dir.path());
    for delay_ms in [0, 40, 150, 400] {
        let out = dir.path().join(delay_ms.to_string());
        let mut child = small_run(&out, &[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_for_round(&out, 1, &mut child);
        sleep(Duration::from_millis(delay_ms));
        signal(&child, "-KILL");
        child.wait().unwrap();
        let output = resume(&out);
        assert!(output.status.success(), "{}", stderr(&output));
        assert_eq!(hash(&last_json(&output)), expected, "killed {delay_ms} ms into round 2");
        let rounds: Vec<_> = lines(&out.join("metrics.jsonl")).iter().map(|row| row["round"].clone()).collect();
        assert_eq!(rounds, [0, 1, 2, 3], "killed {delay_ms} ms into round 2");
    }
}

#[test]
fn finished_client_work_of_an_interrupted_round_is_not_done_again() {
    let dir = tempfile::tempdir().unwrap();
    // One client at a time, so that a round has a middle; where it is depends on the machine and its load.
    let slow = ["--set", "run.threads=1", "--set", "client.steps=12"];
    let middle = [1200, 700, 1900, 3000, 4500, 6500, 9000].into_iter().find_map(|delay_ms| {
        let out = dir.path().join(delay_ms.to_string());
        let mut child = small_run(&out, &slow).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_for_round(&out, 1, &mut child);
        sleep(Duration::from_millis(delay_ms));
        signal(&child, "-KILL");
        child.wait().unwrap();
        let (journal, _) = Journal::open(&out.join("journal")).unwrap();
        let round = journal.latest().unwrap().unwrap().round + 1;
        let positions = journal.update_positions(round).unwrap();
        (!positions.is_empty()).then_some((out, journal, round, positions))
    });
    let (out, journal, round, positions) = middle.expect("a round had finished work when it was killed");
    let seconds = positions.iter().map(|position| {
        let meta = journal.update(round, *position).unwrap().unwrap().meta;
        serde_json::from_str::<Value>(&meta).unwrap()["seconds"].clone()
    });
    let stored: Vec<Value> = seconds.collect();
    drop(journal);
    assert!(resume(&out).status.success());
    let clients = lines(&out.join("clients.jsonl"));
    let of_round: Vec<_> =
        clients.iter().filter(|row| row["round"] == round).map(|row| row["seconds"].clone()).collect();
    // Work that is done again takes other seconds, to the last digit.
    assert!(stored.iter().all(|seconds| of_round.contains(seconds)), "{stored:?} in {of_round:?}");
}

#[test]
fn an_interrupted_run_says_so_with_exit_code_5_and_goes_on_to_the_same_adapter() {
    let dir = tempfile::tempdir().unwrap();
    let expected = undisturbed(dir.path());
    let out = dir.path().join("run");
    let mut child = small_run(&out, &[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for_round(&out, 1, &mut child);
    signal(&child, "-INT");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(5), "{}", stderr(&output));
    let summary = last_json(&output);
    assert_eq!(summary["interrupted"], true);
    assert!(out.join("adapter/adapter_model.safetensors").exists());
    let output = resume(&out);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(hash(&last_json(&output)), expected);
}

#[test]
fn a_full_disk_is_one_clear_error_and_the_run_goes_on_once_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let expected = undisturbed(dir.path());
    let out = dir.path().join("run");
    let small = small_run(&out, &[]);
    let arguments: Vec<_> = small.get_args().map(|argument| argument.to_string_lossy().into_owned()).collect();
    // A limit on the size of a file stands in for a full disk: writes fail in the same place. Blocks of 512 bytes.
    let script = "trap '' XFSZ; ulimit -f 1200; exec \"$0\" \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(env!("CARGO_BIN_EXE_cellm")).args(arguments);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(5), "{}", stderr(&output));
    assert!(stderr(&output).contains("journal"), "{}", stderr(&output));
    let output = resume(&out);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(hash(&last_json(&output)), expected);
}

#[test]
fn a_truncated_journal_is_one_clear_error() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    assert!(small_run(&out, &["--set", "run.rounds=1"]).output().unwrap().status.success());
    let journal = out.join("journal/journal.redb");
    let bytes = std::fs::read(&journal).unwrap();
    std::fs::write(&journal, &bytes[..bytes.len() / 3]).unwrap();
    let output = resume(&out);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("journal.redb"), "{}", stderr(&output));
}

#[test]
fn a_run_is_resumed_with_its_own_settings_only() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    assert!(small_run(&out, &["--set", "run.rounds=1"]).output().unwrap().status.success());
    let mut other = crate::support::cellm(&["run", "--resume", "--set", "client.lr=0.5", "--out"]);
    let output = other.arg(&out).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("client.lr"), "{}", stderr(&output));
    let again = small_run(&out, &[]).output().unwrap();
    assert_eq!(again.status.code(), Some(2));
    assert!(stderr(&again).contains("--resume"), "{}", stderr(&again));
}

#[test]
fn a_directory_that_never_became_a_run_is_begun_again_and_a_resume_of_it_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    std::fs::create_dir_all(out.join("journal")).unwrap();
    std::fs::write(out.join("journal/journal.redb.new"), "").unwrap();
    let output = resume(&out);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("without --resume"), "{}", stderr(&output));
    let output = small_run(&out, &["--set", "run.rounds=1"]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn a_run_that_finds_a_full_disk_at_its_start_is_no_run_and_is_begun_again_once_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let small = small_run(&out, &["--set", "run.rounds=1"]);
    let arguments: Vec<_> = small.get_args().map(|argument| argument.to_string_lossy().into_owned()).collect();
    // Room for the config, none for the journal.
    let script = "trap '' XFSZ; ulimit -f 100; exec \"$0\" \"$@\"";
    let output = Command::new("sh").args(["-c", script]).arg(env!("CARGO_BIN_EXE_cellm")).args(&arguments).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("begin the run again"), "{}", stderr(&output));
    assert_eq!(resume(&out).status.code(), Some(2));
    let output = small_run(&out, &["--set", "run.rounds=1"]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn a_hangup_stops_the_run_as_an_interrupt_does() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    // More rounds than pass before the signal comes.
    let mut run = small_run(&out, &["--set", "run.rounds=200"]);
    let mut child = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for_round(&out, 1, &mut child);
    signal(&child, "-HUP");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(5), "{}", stderr(&output));
    assert_eq!(last_json(&output)["interrupted"], true);
}
