//! The memories of clients and server from round to round: kept with the round, forgotten with a refused update, the
//! same after a crash, for any number of threads.

use std::path::Path;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use cellm::client::ClientState;
use cellm::config::Config;
use cellm::federation::Progress;
use cellm::journal::Journal;
use cellm::policy::{Entry, EntryKind};
use cellm::trainer::TrainerKind;
use serde_json::Value;

use crate::support::{DEADLINE, fixture, last_json, lines, resume, run, run_watched, small, small_run, stderr};

/// A run without training whose every result depends on what was remembered before.
fn witnessed() -> Config {
    let mut config = small();
    config.run.rounds = 5;
    config.client.trainer = TrainerKind::Noop;
    let witness = fixture("witness.wasm").display().to_string();
    for section in [&mut config.download, &mut config.upload] {
        section.policy = witness.clone();
        section.options.insert("trace".into(), Value::from(true));
    }
    config.aggregate.policy = witness;
    config.aggregate.options.insert("trace".into(), Value::from(true));
    config
}

/// The same for the binary; with training, so that there is time to be killed in.
fn witnessed_arguments() -> Vec<String> {
    let witness = fixture("witness.wasm").display().to_string();
    let mut arguments = vec!["--set".into(), "run.rounds=4".into()];
    for section in ["download", "upload", "aggregate"] {
        arguments.extend(["--set".into(), format!("{section}.policy={witness}")]);
        arguments.extend(["--set".into(), format!("{section}.options.trace=true")]);
    }
    arguments
}

/// The journal of a run that has just ended in this process; the last of its actors may still hold it.
fn journal(run_dir: &Path) -> Journal {
    let start = Instant::now();
    loop {
        match Journal::open(&run_dir.join("journal")) {
            Ok((journal, _)) => return journal,
            Err(error) => assert!(start.elapsed() < DEADLINE, "{error}"),
        }
        sleep(Duration::from_millis(5));
    }
}

/// A client's count under a key, after its last closed round.
fn counted(run_dir: &Path, client: u32, values: usize, key: &str) -> Option<u32> {
    let journal = journal(run_dir);
    let state = ClientState::from_bytes(&journal.client_state(client).unwrap()?, values).unwrap();
    match state.memories.of("witness").get(EntryKind::Bytes, key) {
        Some(Entry::Bytes(bytes)) => Some(u32::from_le_bytes(bytes[..4].try_into().unwrap())),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_hook_sees_the_same_memory_for_any_number_of_threads() {
    let dir = tempfile::tempdir().unwrap();
    let mut hashes = Vec::new();
    for threads in [1, 2, 5] {
        let mut config = witnessed();
        config.run.threads = threads;
        let summary = run(config, &dir.path().join(threads.to_string())).await.unwrap();
        hashes.push((summary.adapter_hash, summary.bytes_down, summary.bytes_up));
    }
    assert_eq!(hashes[0], hashes[1]);
    assert_eq!(hashes[0], hashes[2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clients_memory_counts_its_rounds_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let run_dir = dir.path().join("run");
    let values = run(witnessed(), &run_dir).await.unwrap().values;
    let rows = lines(&run_dir.join("clients.jsonl"));
    let journal = journal(&run_dir);
    let last_seen: Vec<Option<u32>> = (0..24).map(|client| journal.last_seen(client).unwrap()).collect();
    drop(journal);
    for client in 0..24 {
        let rounds: Vec<u64> =
            rows.iter().filter(|row| row["client"] == client).map(|row| row["round"].as_u64().unwrap()).collect();
        assert_eq!(last_seen[client as usize].map(u64::from), rounds.last().copied(), "client {client}");
        let expected = (!rounds.is_empty()).then_some(rounds.len() as u32);
        for key in ["encode", "decode", "plan", "accepted"] {
            assert_eq!(counted(&run_dir, client, values, key), expected, "{key} of client {client}");
        }
        // A client that comes back after more than one round was told when it had been there.
        let back: Vec<u64> = rounds.windows(2).filter(|pair| pair[1] > pair[0] + 1).map(|pair| pair[0]).collect();
        let caught_up = (!back.is_empty()).then_some(back.len() as u32);
        assert_eq!(counted(&run_dir, client, values, "decode-catch-up"), caught_up, "client {client}");
        assert_eq!(counted(&run_dir, client, values, "note").map(u64::from), back.last().copied(), "client {client}");
        assert_eq!(counted(&run_dir, client, values, "rejected"), None);
    }
    let last = lines(&run_dir.join("metrics.jsonl")).pop().unwrap();
    assert!(last["down"]["catch_up"].as_u64().unwrap() > 0, "{last}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_client_forgets_the_round_but_not_that_it_was_refused() {
    let dir = tempfile::tempdir().unwrap();
    let run_dir = dir.path().join("run");
    let mut config = witnessed();
    config.server.max_update_norm = 1e3;
    config.server.quorum = 0.1;
    config.upload.options.insert("heavy".into(), Value::from(3));
    let values = run(config, &run_dir).await.unwrap().values;
    let rows = lines(&run_dir.join("clients.jsonl"));
    let of = |client: u32, outcome: &str| {
        rows.iter().filter(|row| row["client"] == client && row["outcome"] == outcome).count() as u32
    };
    let (mut refused, mut accepted) = (0, 0);
    for client in 0..24 {
        let (completed, dropped) = (of(client, "completed"), of(client, "dropped"));
        assert_eq!(dropped, if client % 3 == 0 { completed + dropped } else { 0 }, "client {client}");
        let expect = |key: &str, times: u32| {
            let found = counted(&run_dir, client, values, key);
            assert_eq!(found, (times > 0).then_some(times), "{key} of client {client}");
        };
        expect("rejected", dropped);
        expect("accepted", completed);
        expect("encode", completed);
        expect("decode", completed);
        (refused, accepted) = (refused + dropped, accepted + completed);
    }
    assert!(refused > 1 && accepted > 1, "{refused} refused, {accepted} accepted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_update_rolls_the_residual_back() {
    let dir = tempfile::tempdir().unwrap();
    let run_dir = dir.path().join("run");
    let mut config = small();
    config.run.rounds = 1;
    config.client.trainer = TrainerKind::Noop;
    config.upload.error_feedback = true;
    let (accepted, refused) = (run_dir.join("accepted"), run_dir.join("refused"));
    let summary = run(config.clone(), &accepted).await.unwrap();
    config.server.max_update_norm = 1e-9;
    run(config, &refused).await.unwrap_err();
    let residuals = |run_dir: &Path| {
        let journal = journal(run_dir);
        let states = (0..24).filter_map(|client| journal.client_state(client).unwrap());
        states
            .map(|state| ClientState::from_bytes(&state, summary.values).unwrap().residual.unwrap())
            .collect::<Vec<_>>()
    };
    let kept = residuals(&accepted);
    assert_eq!(kept.len(), 4);
    assert!(kept.iter().all(|residual| residual.iter().any(|value| *value != 0.0)));
    assert_eq!(residuals(&refused).len(), 0, "nobody remembers a round in which all were refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn actors_that_crash_leave_every_memory_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let expected = run(witnessed(), &dir.path().join("undisturbed")).await.unwrap().adapter_hash;
    for actor in ["server", "aggregator", "journal", "compressors"] {
        let run_dir = dir.path().join(actor);
        let name = format!("{}/{actor}", run_dir.display());
        let mut killed = false;
        let summary = run_watched(witnessed(), &run_dir, |event| {
            if matches!(event, Progress::Client { round: 3, .. }) && !killed {
                ractor::registry::where_is(name.clone()).expect("the actor is registered").kill();
                killed = true;
            }
        });
        let hash = summary.await.unwrap().adapter_hash;
        assert!(killed, "{actor} was killed");
        assert_eq!(hash, expected, "after a crash of the {actor}");
    }
}

#[test]
fn stateful_policies_and_feedback_killed_at_any_moment_go_on_to_the_same_adapter() {
    let dir = tempfile::tempdir().unwrap();
    let feedback =
        ["upload.error_feedback=true", "download.error_feedback=true", "server.ema_decay=0.7", "run.rounds=4"];
    let feedback: Vec<String> =
        feedback.iter().flat_map(|setting| ["--set".to_owned(), (*setting).to_owned()]).collect();
    let unicast = ["download.policy=unicast", "download.bits=4", "upload.policy=eden", "upload.bits=1", "run.rounds=4"];
    let unicast: Vec<String> = unicast.iter().flat_map(|setting| ["--set".to_owned(), (*setting).to_owned()]).collect();
    for (name, arguments) in [("witness", witnessed_arguments()), ("feedback", feedback), ("unicast", unicast)] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let undisturbed = small_run(&dir.path().join(name), &arguments).output().unwrap();
        assert!(undisturbed.status.success(), "{}", stderr(&undisturbed));
        let expected = last_json(&undisturbed);
        for delay_ms in [0, 60, 250] {
            let out = dir.path().join(format!("{name}-{delay_ms}"));
            let mut child = small_run(&out, &arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            let start = Instant::now();
            while lines(&out.join("metrics.jsonl")).len() <= 2 {
                assert!(start.elapsed() < DEADLINE && child.try_wait().unwrap().is_none());
                sleep(Duration::from_millis(2));
            }
            sleep(Duration::from_millis(delay_ms));
            child.kill().unwrap();
            child.wait().unwrap();
            let resumed = resume(&out);
            assert!(resumed.status.success(), "{}", stderr(&resumed));
            let found = last_json(&resumed);
            for key in ["adapter_hash", "bytes_down", "bytes_up"] {
                assert_eq!(found[key], expected[key], "{key} of {name}, killed {delay_ms} ms into round 3");
            }
        }
    }
}
