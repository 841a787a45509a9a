//! Actors are killed in the middle of a round; the run ends as if nothing had happened.

use std::path::Path;
use std::time::Duration;

use cellm::federation::Progress;
use ractor::ActorCell;

use crate::support::{lines, run_watched, small, undisturbed_hash};

/// Kills what `pick` finds when the first client of round 2 is through.
async fn killed(run_dir: &Path, pick: impl Fn(ActorCell) -> ActorCell, actor: &str) -> (String, usize, bool) {
    let mut killed = false;
    let mut warnings = 0;
    let name = format!("{}/{actor}", run_dir.display());
    let summary = run_watched(small(), run_dir, |event| match event {
        Progress::Client { round: 2, .. } if !killed => {
            pick(ractor::registry::where_is(name.clone()).expect("the actor is registered")).kill();
            killed = true;
        }
        Progress::Warning(_) => warnings += 1,
        _ => {}
    });
    let hash = summary.await.unwrap().adapter_hash;
    (hash, warnings, killed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_core_actor_is_started_again_and_the_result_is_the_same() {
    let expected = undisturbed_hash().await;
    let dir = tempfile::tempdir().unwrap();
    for actor in ["server", "aggregator", "journal", "compressors", "trainers"] {
        let (hash, warnings, killed) = killed(&dir.path().join(actor), |cell| cell, actor).await;
        assert!(killed, "{actor} was killed");
        assert_eq!(hash, expected, "after a crash of the {actor}");
        assert!(warnings > 0, "the crash of the {actor} was told");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_worker_is_replaced_and_the_result_is_the_same() {
    let expected = undisturbed_hash().await;
    let dir = tempfile::tempdir().unwrap();
    for pool in ["compressors", "trainers"] {
        let worker = |pool: ActorCell| pool.get_children().first().expect("a pool has workers").clone();
        let (hash, warnings, killed) = killed(&dir.path().join(pool), worker, pool).await;
        assert!(killed, "a worker of {pool} was killed");
        assert_eq!(hash, expected, "after a crash of a worker of {pool}");
        assert!(warnings > 0, "the crash of a worker of {pool} was told");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_client_is_asked_again_and_the_result_is_the_same() {
    let expected = undisturbed_hash().await;
    let dir = tempfile::tempdir().unwrap();
    let client = |server: ActorCell| {
        let clients = server.get_children();
        clients.first().unwrap_or(&server).clone()
    };
    let (hash, warnings, killed) = killed(&dir.path().join("run"), client, "server").await;
    assert!(killed && warnings > 0);
    assert_eq!(hash, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_that_crash_again_and_again_are_no_restarts_of_the_run() {
    let expected = undisturbed_hash().await;
    let dir = tempfile::tempdir().unwrap();
    let run_dir = dir.path().join("run");
    let name = format!("{}/trainers", run_dir.display());
    let mut crashes = 0;
    let summary = run_watched(small(), &run_dir, |event| match event {
        Progress::Client { .. } => {
            let pool = ractor::registry::where_is(name.clone());
            pool.and_then(|pool| pool.get_children().first().cloned()).inspect(ActorCell::kill);
        }
        Progress::Warning(warning) => crashes += usize::from(warning.contains("trainer worker crashed")),
        _ => {}
    });
    assert_eq!(summary.await.unwrap().adapter_hash, expected);
    assert!(crashes > 5, "{crashes} crashes are more than the core may have");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_round_that_was_closed_as_the_core_ended_is_in_the_files() {
    let dir = tempfile::tempdir().unwrap();
    for delay_ms in [0, 2, 4, 8, 16, 32] {
        let run_dir = dir.path().join(delay_ms.to_string());
        let name = format!("{}/server", run_dir.display());
        let (mut told, mut killed) = (Vec::new(), false);
        let ended = run_watched(small(), &run_dir, |event| match event {
            // The last of round 2: its end is on its way to the journal.
            Progress::Client { round: 2, done, cohort, .. } if done == cohort && !killed => {
                std::thread::sleep(Duration::from_millis(delay_ms));
                ractor::registry::where_is(name.clone()).inspect(ActorCell::kill);
                killed = true;
            }
            Progress::Round(row) => told.push(row.round),
            _ => {}
        });
        ended.await.unwrap();
        let rounds: Vec<_> = lines(&run_dir.join("metrics.jsonl")).iter().map(|row| row["round"].clone()).collect();
        assert_eq!(rounds, [0, 1, 2, 3], "killed {delay_ms} ms after the last client");
        assert_eq!(told, [0, 1, 2, 3], "killed {delay_ms} ms after the last client");
        assert_eq!(lines(&run_dir.join("clients.jsonl")).len(), 12);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_whose_actors_crash_again_and_again_ends_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let run_dir = dir.path().join("run");
    let name = format!("{}/server", run_dir.display());
    let mut config = small();
    config.run.rounds = 1000;
    let ended = run_watched(config, &run_dir, |event| {
        if matches!(event, Progress::Client { .. })
            && let Some(server) = ractor::registry::where_is(name.clone())
        {
            server.kill();
        }
    });
    let error = ended.await.unwrap_err();
    assert_eq!(error.exit_code(), 1);
    assert!(error.to_string().contains("6 actor restarts within 60 s, at most 5 allowed"), "{error}");
}
