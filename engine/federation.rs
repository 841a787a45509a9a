//! The federation: wires every room together, supervises, shuts down.
//!
//! In: a validated [`Start`]. Out: [`Progress`] while it runs, files in the run directory, a [`Summary`].

mod config;
mod error;
mod inputs;
mod pairs;
mod plan;
mod progress;
mod root;
mod run_dir;
mod serving;
mod timing;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use ractor::Actor;
use tokio::sync::{mpsc, oneshot, watch};

use crate::adapter::{AdapterWeights, peft};
use crate::config::Config;
use crate::server::Finished;

pub use crate::server::{DirectionBytes, RoundRow};
pub use config::RunConfig;
pub use error::FederationError;
pub use inputs::Inputs;
use plan::Plan;
pub use plan::dense_frame_length;
pub use progress::{Progress, Summary};
use root::{Federation, FederationArgs, FederationMsg};
use run_dir::RunDir;
use timing::Clock;
pub use timing::Timing;

/// What a run starts from.
pub struct Start {
    /// The validated config.
    pub config: Config,
    /// The effective config as text, each value with its origin; becomes `config.toml`.
    pub effective_toml: String,
    /// The run directory; made if it is not there.
    pub run_dir: PathBuf,
    /// Whether to go on with the run that is there.
    pub resume: bool,
}

/// Runs a federation to its end, or until `stop` turns true. Progress goes to `progress`; nobody has to listen.
///
/// # Errors
/// [`FederationError`]; what was closed before stays in the journal and `resume` goes on from it.
pub async fn run(
    start: Start,
    progress: mpsc::UnboundedSender<Progress>,
    stop: watch::Receiver<bool>,
) -> Result<Summary, FederationError> {
    run_with(start, Arc::default(), progress, stop).await
}

/// As [`run`], with what other runs of this process have loaded already.
///
/// # Errors
/// As [`run`].
pub async fn run_with(
    start: Start,
    inputs: Arc<Inputs>,
    progress: mpsc::UnboundedSender<Progress>,
    mut stop: watch::Receiver<bool>,
) -> Result<Summary, FederationError> {
    let (began, clock) = (Instant::now(), Clock::start());
    let loaded = tokio::task::spawn_blocking(move || Plan::load(start, &inputs)).await;
    let (plan, files) = loaded.map_err(|panic| FederationError::Config(panic.to_string()))??;
    let plan = Arc::new(plan);
    let first_round = plan.journal.latest()?.map_or(0, |latest| latest.round) + 1;
    // Nothing depends on a listener.
    drop(progress.send(Progress::Ready {
        model: plan.model.describe(),
        clients: plan.shards.clients(),
        values: plan.layout.values(),
        run_dir: plan.run_dir.clone(),
        rounds: plan.rounds(),
        first_round,
    }));
    for warning in &plan.warnings() {
        tracing::warn!("{warning}");
        drop(progress.send(Progress::Warning(warning.clone())));
    }
    let (result, ended) = oneshot::channel();
    let args = FederationArgs { plan: plan.clone(), files, progress, result };
    let spawned = Actor::spawn(None, Federation, args).await;
    let (root, root_ended) =
        spawned.map_err(|source| FederationError::Spawn { actor: "federation", source: Arc::new(source) })?;
    let stopper = tokio::spawn(async move {
        // A dropped sender never stops the run.
        if stop.wait_for(|stop| *stop).await.is_ok() {
            drop(root.cast(FederationMsg::Stop));
        }
    });
    let ended = ended.await.unwrap_or(Err(FederationError::Root));
    stopper.abort();
    // The root has said its last; a panic in its own end would not change the result.
    drop(root_ended.await);
    let (finished, files) = ended?;
    finish(&plan, &finished, &files, (began, clock))
}

/// Writes the adapter and the summary.
fn finish(
    plan: &Plan,
    finished: &Finished,
    files: &RunDir,
    (began, clock): (Instant, Clock),
) -> Result<Summary, FederationError> {
    let weights = AdapterWeights(finished.view.to_vec());
    let about = plan.model.peft(&plan.config.lora, &plan.layout, plan.shards.classes());
    peft::write(&files.adapter(), &plan.layout, &weights, &about)?;
    let rows: Vec<RoundRow> = plan.journal.rows()?.iter().filter_map(|row| serde_json::from_str(row).ok()).collect();
    let last = rows.last();
    let (bytes_total, dense_bytes_total) = last.map_or((0, 0), |row| (row.bytes_total, row.dense_bytes_total));
    let summary = Summary {
        run_dir: plan.run_dir.clone(),
        rounds: finished.rounds,
        clients: plan.shards.clients(),
        values: plan.layout.values(),
        eval_loss_before: rows.first().and_then(|row| row.eval_loss),
        eval_loss_after: rows.iter().rev().find_map(|row| row.eval_loss),
        bytes_down: last.map_or(0, |row| row.bytes_down),
        bytes_up: last.map_or(0, |row| row.bytes_up),
        bytes_total,
        dense_bytes_total,
        reduction: if bytes_total == 0 { 1.0 } else { dense_bytes_total as f64 / bytes_total as f64 },
        adapter: files.adapter(),
        adapter_hash: weights.hash().to_hex().to_string(),
        report: files.report(),
        seconds: began.elapsed().as_secs_f64(),
        timing: clock.read(&plan.metrics),
        epsilon: last.and_then(|row| row.epsilon),
        interrupted: finished.interrupted,
        peak_rss_bytes: peak_rss_bytes(),
    };
    files.summarize(&summary)?;
    Ok(summary)
}

/// Largest resident set of this process so far, bytes; 0 where the system does not tell.
fn peak_rss_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|peak| peak.trim().trim_end_matches("kB").trim().parse::<u64>().ok()).unwrap_or(0) * 1024
}
