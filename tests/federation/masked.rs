//! The policies that hold clients to a part of the adapter, in whole runs without training: everybody knows the part,
//! whenever they come, and only the part travels.

use std::path::Path;

use cellm::config::Config;
use cellm::federation::Summary;
use cellm::server::OptimizerKind;
use cellm::trainer::TrainerKind;
use serde_json::Value;

use crate::support::{lines, run, small};

/// Six rounds with four of 24 clients each, so that most have missed rounds when they come.
fn masked(policy: &str, options: &[(&str, Value)]) -> Config {
    let mut config = small();
    config.run.rounds = 6;
    config.client.trainer = TrainerKind::Noop;
    config.server.optimizer = OptimizerKind::FedAvg;
    for section in [&mut config.download, &mut config.upload] {
        section.policy = policy.into();
        section.density = 0.25;
        for (name, value) in options {
            section.options.insert((*name).into(), value.clone());
        }
    }
    config
}

/// The run with one thread and with three: that nothing depends on it, every client's row, and the last round's.
async fn ran(config: Config, run_dir: &Path) -> (Summary, Vec<Value>, Value) {
    let mut hashes = Vec::new();
    let mut last = None;
    for threads in [1, 3] {
        let mut config = config.clone();
        config.run.threads = threads;
        let run_dir = run_dir.join(threads.to_string());
        let summary = run(config, &run_dir).await.unwrap();
        hashes.push((summary.adapter_hash.clone(), summary.bytes_down, summary.bytes_up));
        last = Some((summary, lines(&run_dir.join("clients.jsonl")), lines(&run_dir.join("metrics.jsonl"))));
    }
    assert_eq!(hashes[0], hashes[1]);
    let (summary, clients, mut rounds) = last.unwrap();
    assert!(clients.iter().all(|client| client["outcome"] == "completed"), "{clients:?}");
    (summary, clients, rounds.pop().unwrap())
}

/// Bytes that catching up cost the clients of a round, each on its own.
fn caught_up(clients: &[Value], round: u64) -> Vec<u64> {
    let of_round = clients.iter().filter(|client| client["round"] == round);
    of_round.map(|client| client["bytes_catch_up"].as_u64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_mask_is_told_to_each_client_once() {
    let dir = tempfile::tempdir().unwrap();
    let (summary, clients, row) = ran(masked("sparse-adapter", &[]), dir.path()).await;
    let (values, kept) = (summary.values as u64, summary.values as u64 / 4);
    assert_eq!(row["up"]["indices"], 0);
    assert_eq!(row["up"]["values"], 2 * 4 * (values + 5 * kept));
    // Rounds 1 and 2 tell by the broadcast. Later a client pays unless it came in round 2 or later before.
    for round in 1..=6 {
        let came = |client: &Value, from: u64| {
            clients
                .iter()
                .any(|row| row["client"] == client["client"] && (from..round).contains(&row["round"].as_u64().unwrap()))
        };
        for client in clients.iter().filter(|client| client["round"] == round) {
            let pays = round > 2 && !came(client, 2);
            assert_eq!(client["bytes_catch_up"].as_u64().unwrap() > 0, pays, "{client}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_mask_needs_no_catching_up() {
    let dir = tempfile::tempdir().unwrap();
    let (summary, _, row) = ran(masked("federated-select", &[]), dir.path()).await;
    let (values, kept) = (summary.values as u64, summary.values as u64 / 4);
    assert_eq!((&row["down"]["catch_up"], &row["up"]["indices"]), (&Value::from(0), &Value::from(0)));
    assert_eq!(row["up"]["values"], 2 * 4 * (values + 5 * kept));
    assert_eq!(row["down"]["values"], row["up"]["values"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mask_shrinks_for_everyone() {
    let dir = tempfile::tempdir().unwrap();
    let options = [("keep", Value::from(0.5)), ("every", Value::from(2))];
    let (summary, clients, row) = ran(masked("adapter-lth", &options), dir.path()).await;
    let values = summary.values as u64;
    assert_eq!(row["up"]["values"], 2 * 4 * 2 * (values + values / 2 + values / 4));
    // The shrink of round 3 is the broadcast's to tell; in round 4 it is news to who was not there.
    assert_eq!(caught_up(&clients, 3), [0; 4]);
    assert!(caught_up(&clients, 4).iter().sum::<u64>() > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_scheme_sends_its_factor_and_brings_everyone_up_to_date() {
    let dir = tempfile::tempdir().unwrap();
    for (scheme, catches_up) in [("ffa-lora", false), ("rolora", true), ("fedsa", false), ("lora-a2", true)] {
        let config = masked("role-mask", &[("scheme", Value::from(scheme))]);
        let (summary, _, row) = ran(config, &dir.path().join(scheme)).await;
        let dense = 2 * 6 * 4 * summary.values as u64;
        let up = row["up"]["values"].as_u64().unwrap();
        let share = if scheme == "lora-a2" { 1..3 } else { 4..7 };
        assert!(share.contains(&(10 * up / dense)), "{scheme}: {up} of {dense}");
        assert_eq!(row["down"]["catch_up"].as_u64().unwrap() > 0, catches_up, "{scheme}");
    }
}
