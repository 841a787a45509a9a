//! Error feedback, catching up, tiers, the running mean and what is counted, in whole runs, most of them without training.

use std::path::Path;

use cellm::config::Config;
use cellm::federation::Summary;
use cellm::roster::Tier;
use cellm::server::OptimizerKind;
use cellm::trainer::TrainerKind;
use serde_json::Value;

use crate::support::{lines, run, small};

fn without_training() -> Config {
    let mut config = small();
    config.run.rounds = 6;
    config.client.trainer = TrainerKind::Noop;
    config.server.optimizer = OptimizerKind::FedAvg;
    config
}

async fn ran(config: Config, run_dir: &Path) -> (Summary, Value) {
    let summary = run(config, run_dir).await.unwrap();
    (summary, lines(&run_dir.join("metrics.jsonl")).pop().unwrap())
}

/// The values of an adapter: the end of its file.
fn adapter(summary: &Summary) -> Vec<f32> {
    let bytes = std::fs::read(summary.adapter.join("adapter_model.safetensors")).unwrap();
    let values = &bytes[bytes.len() - 4 * summary.values..];
    values.chunks_exact(4).map(|value| f32::from_le_bytes(value.try_into().unwrap())).collect()
}

/// Euclidean distance.
fn distance(one: &Summary, other: &Summary) -> f64 {
    let (one, other) = (adapter(one), adapter(other));
    one.iter().zip(&other).map(|(one, other)| f64::from(one - other).powi(2)).sum::<f64>().sqrt()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_adapter_is_the_running_mean_of_what_clients_would_see_and_nobody_trains_from_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = small();
    (config.server.eval_every, config.data.validation) = (3, 0.1);
    config.server.eval_dense = true;
    let (mut seen, mut last) = (Vec::new(), Value::Null);
    for rounds in 1..=3 {
        config.run.rounds = rounds;
        let (summary, row) = ran(config.clone(), &dir.path().join(rounds.to_string())).await;
        seen.push(adapter(&summary));
        last = row;
    }
    config.server.ema_decay = 0.5;
    let (summary, row) = ran(config, &dir.path().join("mean")).await;
    assert_eq!((&row["down"], &row["up"]), (&last["down"], &last["up"]));
    assert_eq!(row["update_norm"], last["update_norm"]);
    assert_eq!(row["eval_loss_dense_copy"], last["eval_loss_dense_copy"]);
    assert_ne!(row["eval_loss"], last["eval_loss"]);
    for (at, mean) in adapter(&summary).iter().enumerate() {
        let expected = (seen[0][at] + 2.0 * seen[1][at] + 4.0 * seen[2][at]) / 7.0;
        assert!((mean - expected).abs() < 1e-5, "value {at}: {mean} is not {expected}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_miss_rounds_are_brought_up_to_date_and_pay_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = without_training();
    config.download.error_feedback = true;
    let (some, row) = ran(config.clone(), &dir.path().join("some")).await;
    let caught_up = row["down"]["catch_up"].as_u64().unwrap();
    assert!(caught_up > 0, "4 of 24 clients a round miss rounds: {row}");
    let kinds = ["indices", "values", "other", "framing", "catch_up"];
    let sum: u64 = kinds.iter().map(|kind| row["down"][kind].as_u64().unwrap()).sum();
    assert_eq!(sum, some.bytes_down);
    let clients = lines(&dir.path().join("some/clients.jsonl"));
    let of_clients = |key: &str| clients.iter().map(|row| row[key].as_u64().unwrap()).sum::<u64>();
    assert_eq!((of_clients("bytes_catch_up"), of_clients("bytes_down")), (caught_up, some.bytes_down));
    let first = clients.iter().filter(|row| row["round"] == 1).map(|row| row["bytes_catch_up"].as_u64().unwrap());
    assert_eq!(first.sum::<u64>(), 0, "nobody has missed anything in the first round");

    config.server.cohort = 24;
    config.run.rounds = 3;
    let (_, row) = ran(config, &dir.path().join("all")).await;
    assert_eq!(row["down"]["catch_up"], 0, "nobody misses a round when all take part");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_is_what_many_missed_rounds_cost_at_most() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = without_training();
    config.run.rounds = 30;
    config.server.cohort = 2;
    config.download.error_feedback = true;
    config.download.density = 0.5;
    let (summary, _) = ran(config, &dir.path().join("run")).await;
    let clients = lines(&dir.path().join("run/clients.jsonl"));
    let most = clients.iter().map(|row| row["bytes_catch_up"].as_u64().unwrap()).max().unwrap();
    // Half of the values a round: two missed rounds are dearer than all values in f16.
    let snapshot = 2 * summary.values as u64;
    assert!(most > snapshot && most < snapshot + 200, "{most} bytes, {} values", summary.values);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn feedback_brings_later_what_sparse_messages_leave_out() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = without_training();
    config.run.rounds = 12;
    config.server.cohort = 24;
    let mut dense = config.clone();
    for section in [&mut dense.download, &mut dense.upload] {
        section.policy = "dense".into();
    }
    let (whole, _) = ran(dense, &dir.path().join("dense")).await;
    (config.upload.density, config.download.density) = (0.05, 1.0);
    let (lossy, lossy_row) = ran(config.clone(), &dir.path().join("lossy")).await;
    config.upload.error_feedback = true;
    let (up, up_row) = ran(config.clone(), &dir.path().join("up")).await;
    assert_eq!(up_row["up"]["values"], lossy_row["up"]["values"], "feedback changes what is sent, not how much");
    let (with, without) = (distance(&up, &whole), distance(&lossy, &whole));
    assert!(with < 0.8 * without, "{with} with feedback up, {without} without");

    (config.upload.error_feedback, config.upload.density, config.download.density) = (false, 1.0, 0.1);
    let (lossy, _) = ran(config.clone(), &dir.path().join("lossy-down")).await;
    config.download.error_feedback = true;
    let (down, _) = ran(config, &dir.path().join("down")).await;
    let (with, without) = (distance(&down, &whole), distance(&lossy, &whole));
    assert!(with < 0.8 * without, "{with} with feedback down, {without} without");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tiers_are_sent_and_send_their_own_density() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = without_training();
    let tier = |share, density| Tier { share, density: Some(density), rank: 0 };
    config.client.tiers = vec![tier(0.5, 0.05), tier(0.5, 0.4)];
    for feedback in [false, true] {
        config.download.error_feedback = feedback;
        config.upload.error_feedback = feedback;
        let run_dir = dir.path().join(feedback.to_string());
        run(config.clone(), &run_dir).await.unwrap();
        let clients = lines(&run_dir.join("clients.jsonl"));
        let bytes = |tier: u32, key: &str| {
            let of_tier = clients.iter().filter(|row| row["tier"] == tier);
            of_tier.map(|row| row[key].as_u64().unwrap()).collect::<Vec<_>>()
        };
        let (thin, thick) = (bytes(0, "bytes_up"), bytes(1, "bytes_up"));
        assert!(!thin.is_empty() && !thick.is_empty());
        assert!(thin.iter().max() < thick.iter().min(), "{thin:?} and {thick:?} bytes up");
        if !feedback {
            let (thin, thick) = (bytes(0, "bytes_down"), bytes(1, "bytes_down"));
            assert!(thin.iter().max() < thick.iter().min(), "{thin:?} and {thick:?} bytes down");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tiers_rank_is_all_that_its_clients_change() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = without_training();
    for section in [&mut config.download, &mut config.upload] {
        section.policy = "flasc".into();
        section.bits = cellm::compressor::Bits::ThirtyTwo;
    }
    (config.download.density, config.upload.density) = (1.0, 1.0);
    config.run.rounds = 2;
    let whole = ran(config.clone(), &dir.path().join("whole")).await.0;
    config.client.tiers = vec![Tier { share: 1.0, density: None, rank: 2 }];
    let low = ran(config.clone(), &dir.path().join("low")).await.0;
    // With one value in 4 trained, three in four are still where they started.
    config.client.tiers[0].rank = 8;
    let all = ran(config, &dir.path().join("all")).await.0;
    assert_eq!(all.adapter_hash, whole.adapter_hash, "the whole rank is the whole adapter");
    let differ = adapter(&low).iter().zip(&adapter(&whole)).filter(|(one, other)| one != other).count();
    let share = differ as f64 / low.values as f64;
    assert!((0.7..0.8).contains(&share), "{differ} of {} values differ", low.values);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_a_policy_cannot_serve_are_refused_before_anything_runs() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = without_training();
    config.download.policy = crate::support::fixture("witness.wasm").display().to_string();
    config.download.error_feedback = true;
    let error = run(config, &dir.path().join("run")).await.unwrap_err();
    assert_eq!(error.exit_code(), 4, "{error}");
    let text = error.to_string();
    assert!(text.contains("download.error_feedback") && text.contains("witness"), "{text}");
}
