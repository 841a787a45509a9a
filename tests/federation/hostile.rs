//! Policies that misbehave, in whole runs. What each hook does with them one by one is tested beside the policy host.

use crate::support::{fixture, run, run_watched, small};
use cellm::config::Config;
use cellm::federation::{FederationError, Progress};
use serde_json::Value;

fn with_hostile(act: &str, upload: bool) -> Config {
    let mut config = small();
    config.run.rounds = 4;
    config.limits.deadline_ms = 300;
    config.limits.memory_mb = 32;
    let section = if upload { &mut config.upload } else { &mut config.download };
    section.policy = fixture("hostile.wasm").display().to_string();
    section.options.insert("act".into(), Value::from(act));
    config
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hostile_upload_policy_drops_its_clients_and_ends_the_run_with_its_name() {
    let dir = tempfile::tempdir().unwrap();
    for act in ["trap", "loop", "memory", "recursion", "output"] {
        let mut dropped = 0;
        let run_dir = dir.path().join(act);
        let ended = run_watched(with_hostile(act, true), &run_dir, |event| {
            dropped += u32::from(matches!(event, Progress::Client { dropped: Some(_), .. }));
        });
        let error = ended.await.unwrap_err();
        assert!(matches!(error, FederationError::Server(_)), "{act}: {error}");
        // Three rounds may miss their quorum; each lost its whole cohort.
        assert_eq!(dropped, 12, "{act}: {error}");
        assert!(error.to_string().contains("hostile"), "{act}: {error}");
        assert!(error.to_string().contains("missed the quorum"), "{act}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_too_short_to_miss_three_rounds_fails_too_where_no_update_ever_came() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = with_hostile("trap", true);
    config.run.rounds = 2;
    let error = run(config, &dir.path().join("run")).await.unwrap_err().to_string();
    assert!(error.contains("2 rounds in a row missed the quorum") && error.contains("hostile"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hostile_download_policy_ends_the_run_with_its_name_and_the_hook() {
    let dir = tempfile::tempdir().unwrap();
    for (act, word) in [("trap", "trap"), ("loop", "300"), ("memory", "32")] {
        let error = run(with_hostile(act, false), &dir.path().join(act)).await.unwrap_err();
        assert_eq!(error.exit_code(), 4, "{act}: {error}");
        let text = error.to_string();
        assert!(text.contains("hostile") && text.contains("encode") && text.contains(word), "{act}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn updates_beyond_the_norm_limit_are_refused_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = small();
    config.run.rounds = 1;
    config.server.quorum = 0.01;
    let mut norms = Vec::new();
    run_watched(config.clone(), &dir.path().join("free"), |event| {
        if let Progress::Round(row) = event {
            norms.push(row.update_norm);
        }
    })
    .await
    .unwrap();
    assert!(norms.last().unwrap().unwrap() > 0.0);
    config.server.max_update_norm = 1e-6;
    let mut reasons = Vec::new();
    run_watched(config, &dir.path().join("limited"), |event| {
        if let Progress::Client { dropped: Some(reason), .. } = event {
            reasons.push(reason.clone());
        }
    })
    .await
    .unwrap_err();
    assert_eq!(reasons.len(), 4);
    assert!(reasons[0].contains("L2 norm") && reasons[0].contains("limit"), "{reasons:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_whose_loss_is_not_finite_is_dropped_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = small();
    config.client.lr = 1e30;
    config.client.max_grad_norm = 0.0;
    let error = run(config, &dir.path().join("run")).await.unwrap_err().to_string();
    assert!(error.contains("missed the quorum") && error.contains("the loss is NaN"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_client_is_dropped_and_a_stand_in_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = small();
    config.run.rounds = 1;
    config.server.deadline_s = 1e-4;
    config.server.over_selection = 0.5;
    let mut late = 0;
    let run_dir = dir.path().join("run");
    let ended = run_watched(config, &run_dir, |event| {
        if let Progress::Client { dropped: Some(reason), .. } = event {
            late += u32::from(reason.contains("deadline of 0.0001 s"));
        }
    });
    let error = ended.await.unwrap_err().to_string();
    assert!(error.contains("missed the quorum"), "{error}");
    assert_eq!(late, 6, "four clients and two stand-ins");
}
