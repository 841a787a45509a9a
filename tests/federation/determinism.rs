//! The same seed gives the same adapter, to the bit.

use std::path::Path;

use serde_json::Value;

use crate::support::{lines, run, small};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_thread_and_many_end_with_the_same_adapter() {
    let dir = tempfile::tempdir().unwrap();
    let mut hashes = Vec::new();
    for threads in [1, 2, 5] {
        let mut config = small();
        config.run.threads = threads;
        let run_dir = dir.path().join(threads.to_string());
        hashes.push((run(config, &run_dir).await.unwrap().adapter_hash, without_seconds(&run_dir)));
    }
    assert_eq!(hashes[0], hashes[1]);
    assert_eq!(hashes[0], hashes[2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_seed_ends_with_another_adapter() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = small();
    let first = run(config.clone(), &dir.path().join("first")).await.unwrap();
    config.run.seed += 1;
    let second = run(config, &dir.path().join("second")).await.unwrap();
    assert_ne!(first.adapter_hash, second.adapter_hash);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_server_optimizer_and_aggregation_moves_the_adapter_its_own_way() {
    let dir = tempfile::tempdir().unwrap();
    let mut hashes = std::collections::HashSet::new();
    for optimizer in ["fedavg", "fedavgm", "fedadam", "fedyogi"] {
        let mut config = small();
        config.server.optimizer = serde_json::from_value(Value::from(optimizer)).unwrap();
        config.server.lr = if optimizer.starts_with("fedavg") { 1.0 } else { 1e-2 };
        hashes.insert(run(config, &dir.path().join(optimizer)).await.unwrap().adapter_hash);
    }
    let mut weighted = small();
    weighted.aggregate.options.insert("weighting".into(), "examples".into());
    hashes.insert(run(weighted, &dir.path().join("weighted")).await.unwrap().adapter_hash);
    assert_eq!(hashes.len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ledger_counts_what_every_client_sent_and_got() {
    let dir = tempfile::tempdir().unwrap();
    let summary = run(small(), dir.path().join("run").as_path()).await.unwrap();
    let clients = lines(&dir.path().join("run/clients.jsonl"));
    let sum = |key: &str| clients.iter().map(|row| row[key].as_u64().unwrap()).sum::<u64>();
    assert_eq!((sum("bytes_down"), sum("bytes_up")), (summary.bytes_down, summary.bytes_up));
    assert_eq!(summary.bytes_total, summary.bytes_down + summary.bytes_up);
    // 24 dense frames of `P` f32 and their framing.
    assert!(summary.dense_bytes_total > 24 * 4 * summary.values as u64);
    assert!(summary.dense_bytes_total < 24 * (4 * summary.values as u64 + 100));
    let last = lines(&dir.path().join("run/metrics.jsonl")).pop().unwrap();
    for (direction, total) in [("down", summary.bytes_down), ("up", summary.bytes_up)] {
        let kinds = ["indices", "values", "other", "framing"];
        assert_eq!(kinds.iter().map(|kind| last[direction][kind].as_u64().unwrap()).sum::<u64>(), total);
    }
}

/// Every row of a run, without the seconds that no run repeats.
fn without_seconds(run_dir: &Path) -> Vec<Value> {
    let mut rows = lines(&run_dir.join("metrics.jsonl"));
    rows.extend(lines(&run_dir.join("clients.jsonl")));
    for row in &mut rows {
        row.as_object_mut().unwrap().remove("seconds");
    }
    rows
}
