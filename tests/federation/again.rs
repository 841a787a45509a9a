//! Rounds that go wrong at the server: an update over which the aggregation policy breaks down, updates that are too large
//! together, a broadcast that cannot be made, a run directory that goes away. Each costs what it must and nothing else.

use cellm::config::Config;
use cellm::federation::Progress;
use serde_json::Value;

use crate::support::{fixture, lines, run, run_again, run_watched, small};

/// Rounds whose update is as large as single precision takes; frames carry it whole.
fn large() -> Config {
    let mut config = small();
    config.run.rounds = 1;
    config.client.optimizer = toml::from_str::<Config>("[client]\noptimizer = \"sgd\"").unwrap().client.optimizer;
    config.client.steps = 1;
    config.client.max_grad_norm = 0.0;
    config.client.momentum = 0.0;
    for section in [&mut config.download, &mut config.upload] {
        section.density = 1.0;
        section.bits = 32_u32.try_into().unwrap();
    }
    config
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_over_which_the_aggregator_breaks_down_costs_its_client_and_not_the_round() {
    let dir = tempfile::tempdir().unwrap();
    let mut hostile = std::fs::read(fixture("hostile.wasm")).unwrap();
    let marker = b"cellm-hostile-act:";
    let at = hostile.windows(marker.len()).position(|window| window == marker).unwrap() + marker.len();
    let act = b"accept:trap.......";
    hostile[at..at + act.len()].copy_from_slice(act);
    let file = dir.path().join("hostile.wasm");
    std::fs::write(&file, &hostile).unwrap();
    let mut config = small();
    config.aggregate.policy = file.display().to_string();
    let (mut dropped, mut again, mut rows) = (Vec::new(), 0, Vec::new());
    let run_dir = dir.path().join("run");
    let ended = run_watched(config, &run_dir, |event| match event {
        Progress::Client { dropped: Some(reason), .. } => dropped.push(reason.clone()),
        Progress::Warning(warning) => again += usize::from(warning.contains("is begun again without")),
        Progress::Round(row) => rows.push((row.round, row.completed, row.dropped, row.quorum)),
        _ => {}
    });
    // It breaks down over every update, so that no round has any.
    let error = ended.await.unwrap_err().to_string();
    assert!(error.contains("missed the quorum") && error.contains("trapped in accept"), "{error}");
    assert_eq!(again, 12, "once for each client of three rounds");
    assert!(dropped.iter().all(|reason| reason.contains("hostile") && reason.contains("accept")), "{dropped:?}");
    assert_eq!(rows, [(0, 0, 0, 0), (1, 0, 4, 2), (2, 0, 4, 2)]);
    assert_eq!(lines(&run_dir.join("clients.jsonl")).len(), 8, "one row a client, however often a round was begun");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_finite_updates_that_are_too_large_together_the_later_ones_are_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = large();
    config.client.lr = 3e38;
    config.server.quorum = 0.01;
    let (mut row, run_dir) = (None, dir.path().join("run"));
    let ended = run_watched(config, &run_dir, |event| {
        if let Progress::Round(last) = event {
            row = Some(last.clone());
        }
    });
    ended.await.unwrap();
    let row = row.unwrap();
    assert!(row.completed >= 1 && row.dropped >= 1, "{row:?}");
    let clients = lines(&run_dir.join("clients.jsonl"));
    let reasons: Vec<&Value> =
        clients.iter().filter(|row| row["outcome"] == "dropped").map(|row| &row["reason"]).collect();
    assert!(reasons.iter().all(|reason| reason.as_str().unwrap().contains("not finite")), "{reasons:?}");
    assert_eq!(clients[0]["outcome"], "completed", "the first stays: {clients:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broadcast_that_cannot_be_made_does_not_take_the_finished_round_along() {
    let dir = tempfile::tempdir().unwrap();
    let run_dir = dir.path().join("run");
    let mut config = large();
    config.run.rounds = 3;
    // Beyond what half precision holds, so that the next download cannot be written.
    config.client.lr = 1e7;
    config.download.bits = 16_u32.try_into().unwrap();
    for ended in [run(config.clone(), &run_dir).await, run_again(config, &run_dir).await] {
        let error = ended.unwrap_err();
        assert_eq!(error.exit_code(), 4, "{error}");
        assert!(error.to_string().starts_with("round 2: "), "{error}");
        let rounds: Vec<Value> = lines(&run_dir.join("metrics.jsonl")).iter().map(|row| row["round"].clone()).collect();
        assert_eq!(rounds, [0, 1], "round 1 was through");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_directory_that_is_moved_away_ends_the_run_with_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let (here, there) = (dir.path().join("run"), dir.path().join("there"));
    let mut config = small();
    config.run.rounds = 10_000;
    let ended = run_watched(config, &here, |event| {
        if matches!(event, Progress::Round(row) if row.round == 1) {
            std::fs::rename(&here, &there).unwrap();
        }
    });
    let error = ended.await.unwrap_err().to_string();
    assert!(error.contains("was moved or removed") && error.contains(&here.display().to_string()), "{error}");
    assert!(!here.exists(), "nothing is written where it was");
}
