//! The federation: wires every room together, supervises, shuts down.
//!
//! In: a validated [`Start`]. Out: [`Progress`] while it runs, files in the run directory, a [`Summary`].

mod check;
mod compatibility;
mod completions;
mod core_actors;
mod cpu_seconds;
mod error;
mod join;
mod journal_dir;
mod manifest;
mod message;
mod plan;
mod policies;
mod presence;
mod progress;
mod root;
mod run_dir;
mod serve;
mod shared_inputs;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use ractor::Actor;
use tokio::sync::{mpsc, oneshot, watch};

use crate::adapter::{AdapterWeights, peft};
use crate::config::Config;
use crate::data::Task;
use crate::link::Hub;
use crate::metrics::Exporter;
use crate::pool::blocking;
use crate::server::Finished;

pub use crate::link::DirectionBytes;
pub use crate::server::{EndedBy, RoundRow};
pub use check::{Checked, check};
use cpu_seconds::Clock;
pub use cpu_seconds::Timing;
pub use error::FederationError;
pub use join::{Join, Joined, join};
pub use journal_dir::is_run;
use message::FederationMsg;
use plan::Plan;
pub use plan::dense_frame_length;
pub use presence::{ServerStatus, server_status, stop_server};
pub use progress::{Progress, Summary};
use root::{Federation, FederationArgs};
use run_dir::RunDir;
pub use serve::serve;
pub use shared_inputs::Inputs;

/// The start of a run: its config, directory and mode.
pub struct Start {
    /// The validated config.
    pub config: Config,
    /// The effective config as text, each value with its origin; becomes `config.toml`.
    pub effective_toml: String,
    /// The run directory; made if it is not there.
    pub run_dir: PathBuf,
    /// True to go on with the run that is there.
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
    stop: watch::Receiver<bool>,
) -> Result<Summary, FederationError> {
    let (began, clock) = (Instant::now(), Clock::start());
    // Before anything is made: a port in use leaves nothing behind.
    let endpoint = bind(&start.config).await?;
    let load = move || Plan::load(start, |config| inputs.shards(config), false);
    let (plan, files) = blocking("loading", load).await??;
    supervise(Arc::new(plan), files, endpoint, None, progress, stop, (began, clock)).await
}

/// The metrics' endpoint, where the config asks for one.
async fn bind(config: &Config) -> Result<Option<Exporter>, FederationError> {
    let Some(listen) = &config.metrics.listen else { return Ok(None) };
    let bound = Exporter::bind(listen).await;
    bound.map(Some).map_err(|error| FederationError::Metrics(error.to_string()))
}

/// Runs what was loaded to its end under a root supervisor; with a hub, its clients are on other machines.
async fn supervise(
    plan: Arc<Plan>,
    files: RunDir,
    endpoint: Option<Exporter>,
    hub: Option<Hub>,
    progress: mpsc::UnboundedSender<Progress>,
    mut stop: watch::Receiver<bool>,
    (began, clock): (Instant, Clock),
) -> Result<Summary, FederationError> {
    let first_round = files.last_round().unwrap_or(0) + 1;
    // Nothing depends on a listener.
    drop(progress.send(Progress::Ready {
        model: plan.model.describe(),
        clients: plan.shards.clients(),
        values: plan.layout.values(),
        metric: metric(&plan.config),
        run_dir: plan.run_dir.clone(),
        rounds: plan.rounds(),
        rates_change: plan.learning_rates().is_some_and(|rates| rates.change()),
        first_round,
    }));
    for warning in &plan.warnings {
        tracing::warn!("{warning}");
        drop(progress.send(Progress::Warning(warning.clone())));
    }
    let (result, ended) = oneshot::channel();
    let args = FederationArgs { plan: plan.clone(), files, endpoint, hub, progress, result };
    let spawned = Actor::spawn(None, Federation, args).await;
    let (root, root_ended) =
        spawned.map_err(|source| FederationError::Spawn { actor: "federation", source: Arc::new(source) })?;
    let stopped = async {
        // A dropped sender never stops the run.
        if stop.wait_for(|stop| *stop).await.is_ok() {
            drop(root.cast(FederationMsg::Stop));
        }
        std::future::pending::<()>().await;
    };
    let ended = tokio::select! {
        ended = ended => ended.unwrap_or(Err(FederationError::Root)),
        () = stopped => Err(FederationError::Root),
    };
    // The root has said its last; a panic in its own end would not change the result.
    drop(root_ended.await);
    let (finished, files) = ended?;
    blocking("the run's end", move || finish(&plan, finished, &files, (began, clock))).await?
}

/// Writes the adapter and the summary.
fn finish(
    plan: &Plan,
    finished: Finished,
    files: &RunDir,
    (began, clock): (Instant, Clock),
) -> Result<Summary, FederationError> {
    let weights = AdapterWeights(finished.adapter);
    let about = plan.model.peft_config(&plan.config.lora, &plan.layout, plan.shards.classes());
    peft::write(&files.adapter(), &plan.layout, &weights, &about)?;
    let rows: Vec<RoundRow> = plan.journal.rows()?.iter().filter_map(|row| serde_json::from_str(row).ok()).collect();
    let last = rows.last();
    let missed = |row: &&RoundRow| row.completed < row.quorum;
    let after = |value: fn(&RoundRow) -> Option<f64>| rows.iter().filter(|row| row.round > 0).rev().find_map(value);
    let (bytes_total, dense_bytes_total) = last.map_or((0, 0), |row| (row.bytes_total, row.dense_bytes_total));
    // The adapter is written: a completion that fails must not take it along.
    let completions = completions::completions(plan, &weights.0).unwrap_or_else(|error| {
        tracing::warn!("no completions: {error}");
        Vec::new()
    });
    let ended_by = match finished.ended_by {
        EndedBy::Rounds if finished.rounds < plan.config.run.rounds => EndedBy::PrivacyBudget,
        other => other,
    };
    let summary = Summary {
        run_dir: plan.run_dir.clone(),
        rounds: finished.rounds,
        completed: rows.iter().map(|row| u64::from(row.completed)).sum(),
        dropped: rows.iter().map(|row| u64::from(row.dropped)).sum(),
        rounds_without_quorum: rows.iter().filter(missed).count() as u32,
        last_rounds_without_quorum: rows.iter().rev().take_while(missed).count() as u32,
        clients: plan.shards.clients(),
        values: plan.layout.values(),
        eval_records: plan.shards.evaluated_records(),
        held_out_records: plan.shards.held_out_records(),
        eval_loss_before: rows.first().and_then(|row| row.eval_loss),
        eval_loss_after: after(|row| row.eval_loss),
        metric: metric(&plan.config).into(),
        eval_metric_before: rows.first().and_then(|row| row.eval_metric),
        eval_metric_after: after(|row| row.eval_metric),
        bytes_down: last.map_or(0, |row| row.bytes_down),
        bytes_up: last.map_or(0, |row| row.bytes_up),
        bytes_total,
        byte_budget: Some(plan.config.run.byte_budget).filter(|budget| *budget > 0),
        dense_bytes_total,
        reduction: if bytes_total == 0 { 1.0 } else { dense_bytes_total as f64 / bytes_total as f64 },
        adapter: files.adapter(),
        adapter_hash: weights.hash().to_hex().to_string(),
        report: files.report(),
        seconds: began.elapsed().as_secs_f64(),
        timing: clock.read(&plan.metrics),
        epsilon: last.and_then(|row| row.epsilon),
        ended_by,
        interrupted: ended_by == EndedBy::Interruption,
        peak_rss_bytes: peak_rss_bytes(),
        completions,
    };
    files.summarize(&summary)?;
    Ok(summary)
}

/// The name of the share of right answers, which depends on what is learned.
pub fn metric(config: &Config) -> &'static str {
    match config.data.task {
        Task::Classification => "accuracy",
        Task::Text | Task::Instruction => "token accuracy",
    }
}

/// Largest resident set of this process so far, bytes; 0 where the system does not tell.
fn peak_rss_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|peak| peak.trim().trim_end_matches("kB").trim().parse::<u64>().ok()).unwrap_or(0) * 1024
}
