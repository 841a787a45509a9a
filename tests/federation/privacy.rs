//! Differential privacy on real runs: epsilon a round, noise that repeats with the seed, a budget that ends the run.

use cellm::federation::FederationError;
use cellm::privacy::Place;
use serde_json::Value;

use crate::support::{lines, run, small};

fn private(place: Place) -> cellm::config::Config {
    let mut config = small();
    config.privacy.clip = 0.5;
    config.privacy.place = place;
    config.privacy.delta = 1e-3;
    config
}

fn epsilons(dir: &std::path::Path) -> Vec<f64> {
    lines(&dir.join("metrics.jsonl")).iter().filter_map(|row| row.get("epsilon").and_then(Value::as_f64)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn noise_at_the_server_repeats_with_the_seed_and_the_budget_ends_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let config = private(Place::Server);
    let first = run(config.clone(), &dir.path().join("first")).await.unwrap();
    let spent = epsilons(&dir.path().join("first"));
    assert!(spent.len() == 4 && spent[0] == 0.0 && spent.is_sorted_by(|a, b| a < b), "{spent:?}");
    assert_eq!(first.epsilon, spent.last().copied());
    let again = run(config.clone(), &dir.path().join("again")).await.unwrap();
    assert_eq!(first.adapter_hash, again.adapter_hash);
    let mut louder = config.clone();
    louder.privacy.noise_multiplier = 2.0;
    louder.privacy.budget = spent[2];
    let louder = run(louder, &dir.path().join("louder")).await.unwrap();
    assert!(louder.adapter_hash != first.adapter_hash && louder.rounds == 3, "more noise, less spent");
    let mut limited = config.clone();
    limited.privacy.budget = spent[2];
    let limited = run(limited, &dir.path().join("limited")).await.unwrap();
    assert_eq!((limited.rounds, limited.interrupted), (2, false));
    let mut poor = config;
    poor.privacy.budget = spent[1] / 2.0;
    let refused = run(poor, &dir.path().join("poor")).await.unwrap_err();
    assert!(
        matches!(refused, FederationError::Config(_)) && refused.to_string().contains("privacy.budget"),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn noise_at_the_clients_goes_with_any_aggregate_and_noise_at_the_server_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = private(Place::Client);
    config.run.rounds = 1;
    config.aggregate.policy = "median".into();
    let own = run(config.clone(), &dir.path().join("client")).await.unwrap();
    let mut without = config.clone();
    without.privacy.clip = 0.0;
    let without = run(without, &dir.path().join("without")).await.unwrap();
    assert!(own.adapter_hash != without.adapter_hash && without.epsilon.is_none() && own.epsilon.is_some());
    config.privacy.place = Place::Server;
    let refused = run(config, &dir.path().join("server")).await.unwrap_err();
    assert_eq!(refused.exit_code(), 4);
    assert!(refused.to_string().contains("privacy.where server needs aggregate policy fedavg"), "{refused}");
}
