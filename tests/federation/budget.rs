//! A byte budget of a whole run: never exceeded, used as far as whole rounds go, and raised where a run goes on.

use std::path::Path;

use cellm::config::Config;
use cellm::federation::{EndedBy, Progress, Summary};
use cellm::server::OptimizerKind;
use cellm::trainer::TrainerKind;

use crate::support::{lines, run, run_again, run_watched, small};

fn without_training() -> Config {
    let mut config = small();
    config.run.rounds = 8;
    config.client.trainer = TrainerKind::Noop;
    config.server.optimizer = OptimizerKind::FedAvg;
    config
}

fn within(config: &Config, byte_budget: u64) -> Config {
    let mut config = config.clone();
    config.run.byte_budget = byte_budget;
    config
}

/// Bytes of the run after each round.
fn totals(run_dir: &Path) -> Vec<u64> {
    lines(&run_dir.join("metrics.jsonl")).iter().map(|row| row["bytes_total"].as_u64().unwrap()).collect()
}

/// A budget for the rounds up to `round` of a run, with room for what uploads differ in length.
fn for_rounds(after: &[u64], round: usize) -> u64 {
    after[round] + (after[round] - after[round - 1]) / 8
}

fn outcome(summary: &Summary) -> (u32, EndedBy) {
    assert!(!summary.interrupted && summary.adapter.join("adapter_model.safetensors").exists());
    (summary.rounds, summary.ended_by)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_ends_before_the_first_round_that_does_not_fit() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = without_training();
    for section in [&mut config.download, &mut config.upload] {
        section.policy = "dense".into();
    }
    let whole = run(config.clone(), &dir.path().join("whole")).await.unwrap();
    assert_eq!((outcome(&whole), whole.byte_budget), ((8, EndedBy::Rounds), None));
    let after = totals(&dir.path().join("whole"));
    // The longest upload counts for all four clients, with room for a longer header and a verdict.
    for (name, budget, expected) in [
        ("four", after[4] + 400, (4, EndedBy::ByteBudget)),
        ("not-four", after[4] - 1, (3, EndedBy::ByteBudget)),
        ("all", after[8] + 400, (8, EndedBy::Rounds)),
    ] {
        let summary = run(within(&config, budget), &dir.path().join(name)).await.unwrap();
        assert_eq!((outcome(&summary), summary.byte_budget), (expected, Some(budget)), "{name}");
        assert!(summary.bytes_total <= budget && summary.in_vain().is_none(), "{name}");
    }
    let text = std::fs::read_to_string(dir.path().join("four/summary.json")).unwrap();
    assert!(text.contains("\"ended_by\": \"byte_budget\""), "{text}");

    let nothing = run(within(&config, after[1] / 2), &dir.path().join("nothing")).await.unwrap();
    assert_eq!((outcome(&nothing), nothing.bytes_total), ((0, EndedBy::ByteBudget), 0));
    assert!(nothing.in_vain().unwrap().contains("run.byte_budget"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_larger_budget_goes_on_to_the_same_adapter_and_a_smaller_one_ends_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let config = without_training();
    let whole = run(config.clone(), &dir.path().join("whole")).await.unwrap();
    let after = totals(&dir.path().join("whole"));
    let out = dir.path().join("run");
    let first = run(within(&config, for_rounds(&after, 3)), &out).await.unwrap();
    assert_eq!(outcome(&first), (3, EndedBy::ByteBudget));
    let less = run_again(within(&config, after[1]), &out).await.unwrap();
    assert_eq!((outcome(&less), less.bytes_total), ((3, EndedBy::ByteBudget), after[3]));
    let budget = for_rounds(&after, 6);
    let more = run_again(within(&config, budget), &out).await.unwrap();
    let straight = run(within(&config, budget), &dir.path().join("straight")).await.unwrap();
    assert_eq!(outcome(&more), (6, EndedBy::ByteBudget));
    assert_eq!((outcome(&more), &more.adapter_hash), (outcome(&straight), &straight.adapter_hash));
    let end = run_again(config, &out).await.unwrap();
    assert_eq!((outcome(&end), end.adapter_hash), ((8, EndedBy::Rounds), whole.adapter_hash));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_budget_is_exceeded_in_silence_and_none_is_left_unused() {
    let dir = tempfile::tempdir().unwrap();
    let plain = without_training();
    let mut feedback = plain.clone();
    (feedback.download.error_feedback, feedback.upload.error_feedback) = (true, true);
    let mut unicast = plain.clone();
    (unicast.download.policy, unicast.download.bits) = ("unicast".into(), 4_u32.try_into().unwrap());
    (unicast.upload.policy, unicast.upload.bits) = ("eden".into(), 2_u32.try_into().unwrap());
    for (name, config) in [("plain", plain), ("feedback", feedback), ("unicast", unicast)] {
        run(config.clone(), &dir.path().join(name)).await.unwrap();
        let after = totals(&dir.path().join(name));
        for round in [1, 2, 5] {
            // One byte less than the next round would take, half of it, and nothing of it.
            let next = after[round + 1] - after[round];
            for (number, left) in [next - 1, next / 2, 0].into_iter().enumerate() {
                let (budget, mut warnings) = (after[round] + left, Vec::new());
                let run_dir = dir.path().join(format!("{name}-{round}-{number}"));
                let watched = run_watched(within(&config, budget), &run_dir, |event| {
                    if let Progress::Warning(warning) = event {
                        warnings.push(warning.clone());
                    }
                });
                let summary = watched.await.unwrap();
                let said = warnings.iter().any(|warning| warning.contains("over run.byte_budget"));
                let place = format!("{name}, {left} bytes after round {round}: {summary:?}");
                assert_eq!(summary.bytes_total > budget, said, "{place}");
                // Uploads of a policy differ in length by a few bytes, and the longest one counts for all.
                assert!((round as u32 - 1..=round as u32).contains(&summary.rounds), "{place}");
                assert!(summary.bytes_total <= budget, "{place}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_that_a_budget_brings_is_evaluated_as_the_last_round_is() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = small();
    (config.server.eval_every, config.data.validation) = (5, 0.05);
    config.run.rounds = 2;
    run(config.clone(), &dir.path().join("whole")).await.unwrap();
    let budget = for_rounds(&totals(&dir.path().join("whole")), 2);
    config.run.rounds = 9;
    let summary = run(within(&config, budget), &dir.path().join("run")).await.unwrap();
    assert_eq!(outcome(&summary), (2, EndedBy::ByteBudget));
    let losses = |name: &str| {
        let rows = lines(&dir.path().join(name).join("metrics.jsonl"));
        rows.iter().map(|row| row["eval_loss"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(losses("run"), losses("whole"));
    assert!(losses("run")[1].is_null() && losses("run")[2].is_f64());
}
