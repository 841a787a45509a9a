//! Learning rates by round on real runs: in the rows, in what is trained, and the same where a run goes on.

use std::path::Path;

use cellm::config::Config;
use cellm::federation::{EndedBy, FederationError};
use cellm::trainer::LrSchedule;
use serde_json::Value;

use crate::support::{lines, run, run_again, small};

fn cosine() -> Config {
    let mut config = small();
    config.run.rounds = 4;
    config.client.lr = 8e-3;
    (config.client.lr_schedule, config.client.lr_floor) = (LrSchedule::Cosine, 2e-3);
    config
}

fn rates(run_dir: &Path) -> Vec<Option<f64>> {
    lines(&run_dir.join("metrics.jsonl")).iter().map(|row| row["lr"].as_f64()).collect()
}

/// Every row of a run, without the seconds that no run repeats.
fn rows(run_dir: &Path) -> Vec<Value> {
    let mut rows = lines(&run_dir.join("metrics.jsonl"));
    for row in &mut rows {
        row.as_object_mut().unwrap().remove("seconds");
    }
    rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_trains_at_the_rates_of_its_schedule_and_goes_on_with_them() {
    let dir = tempfile::tempdir().unwrap();
    let place = |name: &str| dir.path().join(name);
    let whole = run(cosine(), &place("whole")).await.unwrap();
    // Half of a cosine between 8e-3 and 2e-3 by quarters: 5e-3 + 3e-3 cos(pi r / 4).
    let root = 0.5_f64.sqrt();
    let expected = [5e-3 + 3e-3 * root, 5e-3, 5e-3 - 3e-3 * root, 2e-3];
    let found = rates(&place("whole"));
    assert_eq!(found[0], None, "nothing is trained before the first round");
    for (found, expected) in found[1..].iter().zip(expected) {
        assert!((found.unwrap() - expected).abs() < 1e-15, "{found:?} is not {expected}");
    }

    // A budget stops a run as an interrupt does, at the end of a round of our choice.
    let mut stopped = cosine();
    let after = lines(&place("whole/metrics.jsonl"));
    let [two, three] = [2, 3].map(|round: usize| after[round]["bytes_total"].as_u64().unwrap());
    stopped.run.byte_budget = (two + three) / 2;
    let two = run(stopped, &place("again")).await.unwrap();
    assert_eq!((two.rounds, two.ended_by), (2, EndedBy::ByteBudget));
    let again = run_again(cosine(), &place("again")).await.unwrap();
    assert_eq!(again.adapter_hash, whole.adapter_hash);
    assert_eq!(rows(&place("again")), rows(&place("whole")));

    let mut longer = cosine();
    longer.run.rounds = 5;
    let refused = run_again(longer, &place("again")).await.unwrap_err();
    assert!(matches!(refused, FederationError::Differs { .. }), "{refused}");
    let text = refused.to_string();
    assert!(text.contains("run.rounds is 4 in the journal and 5 now"), "its earlier rates would be others: {text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_rate_of_a_round_counts_whatever_says_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = small();
    config.run.rounds = 2;
    let constant = run(config.clone(), &dir.path().join("constant")).await.unwrap();
    assert_eq!(rates(&dir.path().join("constant")), [None, Some(5e-3), Some(5e-3)]);
    config.client.lr_schedule = LrSchedule::Linear;
    config.client.lr_floor = config.client.lr;
    let flat = run(config.clone(), &dir.path().join("flat")).await.unwrap();
    assert_eq!(flat.adapter_hash, constant.adapter_hash, "a line from 5e-3 to 5e-3");
    config.client.lr_floor = 0.0;
    let falling = run(config.clone(), &dir.path().join("falling")).await.unwrap();
    assert_eq!(rates(&dir.path().join("falling")), [None, Some(2.5e-3), Some(0.0)]);
    assert_ne!(falling.adapter_hash, constant.adapter_hash);
    let norms: Vec<_> =
        lines(&dir.path().join("falling/metrics.jsonl")).iter().map(|row| row["update_norm"].clone()).collect();
    assert!(norms[1].as_f64().unwrap() > 0.0 && norms[2] == 0.0, "nothing is learned at a rate of 0: {norms:?}");
    (config.client.lr_schedule, config.client.warmup_rounds) = (LrSchedule::Constant, 2);
    run(config, &dir.path().join("warm")).await.unwrap();
    assert_eq!(rates(&dir.path().join("warm")), [None, Some(2.5e-3), Some(5e-3)]);
}
