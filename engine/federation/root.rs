//! The Federation actor: root supervisor of a run.
//!
//! Its children are named in ractor's registry `<run directory>/<actor>`. They are the core (Journal, Aggregator, compressor pool, trainer pool, Server) and the MetricsExporter.
//! The pools replace their own workers. When a core actor crashes, the whole core is started anew from the journal:
//! their states belong together, and the journal is the only one of them that is true after a crash. When restarts
//! come too fast, the run ends with the reason.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ractor::{Actor, ActorCell, ActorProcessingErr, SupervisionEvent};
use tokio::sync::{mpsc, oneshot};

use super::core_actors::{Core, Standing};
use super::message::{FederationMsg, FederationRef};
use super::plan::Plan;
use super::run_dir::RunDir;
use super::{FederationError, Progress};
use crate::link::Hub;
use crate::metrics::{self, Exporter, MetricsExporter, MetricsExporterArgs, MetricsExporterRef};
use crate::pool::{blocking, watched};
use crate::server::{Finished, Resume, RoundRow, ServerEvent, ServerMsg};

/// The actor.
pub(super) struct Federation;

/// The actor's parts.
pub(super) struct FederationArgs {
    pub plan: Arc<Plan>,
    pub files: RunDir,
    /// The metrics' endpoint, bound before anything was made.
    pub endpoint: Option<Exporter>,
    /// The clients of a deployed federation; none in a simulation.
    pub hub: Option<Hub>,
    pub progress: mpsc::UnboundedSender<Progress>,
    pub result: oneshot::Sender<Result<(Finished, RunDir), FederationError>>,
}

/// Restarts allowed in a window; the next one ends the run.
const RESTARTS: usize = 5;
const WINDOW: Duration = Duration::from_secs(60);

/// The actor's state.
pub(super) struct FederationState {
    plan: Arc<Plan>,
    files: Option<RunDir>,
    progress: mpsc::UnboundedSender<Progress>,
    result: Option<oneshot::Sender<Result<(Finished, RunDir), FederationError>>>,
    core: Option<Core>,
    endpoint: Option<Exporter>,
    hub: Option<Hub>,
    exporter: Option<MetricsExporterRef>,
    restarts: VecDeque<Instant>,
    generation: u32,
    stopping: bool,
    /// The last round that the files have.
    written: Option<u32>,
    /// Rounds that had missed their quorum, one after the other, when this process went on with the run; none before it did.
    forgiven: Option<u32>,
}

impl Actor for Federation {
    type Msg = FederationMsg;
    type State = FederationState;
    type Arguments = FederationArgs;

    async fn pre_start(
        &self,
        myself: FederationRef,
        args: FederationArgs,
    ) -> Result<FederationState, ActorProcessingErr> {
        let FederationArgs { plan, files, endpoint, hub, progress, result } = args;
        let written = files.last_round();
        let mut state = FederationState {
            plan,
            files: Some(files),
            progress,
            result: Some(result),
            core: None,
            endpoint,
            hub,
            exporter: None,
            restarts: VecDeque::new(),
            generation: 0,
            stopping: false,
            written,
            forgiven: None,
        };
        state.start(&myself).await;
        Ok(state)
    }

    async fn handle(
        &self,
        myself: FederationRef,
        message: FederationMsg,
        state: &mut FederationState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            FederationMsg::Stop => state.stop(),
            FederationMsg::Server(generation, event) => state.server_event(&myself, generation, *event).await,
            FederationMsg::WorkerRestarted(pool) => state.worker_restarted(pool),
            FederationMsg::Sample => state.sample(&myself),
            FederationMsg::Lost(error) => state.end(&myself, Err(error)).await,
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: FederationRef,
        event: SupervisionEvent,
        state: &mut FederationState,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(who, reason) => state.child_ended(&myself, &who, reason.to_string()).await,
            // A child that ends by its own decision gives no reason; a killed one does.
            SupervisionEvent::ActorTerminated(who, _, Some(reason)) => state.child_ended(&myself, &who, reason).await,
            _ => {}
        }
        Ok(())
    }
}

impl FederationState {
    async fn start(&mut self, myself: &FederationRef) {
        let started = async {
            self.start_exporter(myself).await?;
            self.start_core(myself).await
        };
        if let Err(error) = started.await {
            self.end(myself, Err(error)).await;
        }
        myself.send_interval(Duration::from_secs(1), || FederationMsg::Sample);
    }

    async fn start_exporter(&mut self, myself: &FederationRef) -> Result<(), FederationError> {
        let Some(listen) = self.plan.config.metrics.listen.clone() else { return Ok(()) };
        let exporter = match self.endpoint.take() {
            Some(bound) => bound,
            None => Exporter::bind(&listen).await.map_err(|error| FederationError::Metrics(error.to_string()))?,
        };
        let args = MetricsExporterArgs { exporter, metrics: self.plan.metrics.clone() };
        let spawned = MetricsExporter::spawn(args, myself.get_cell()).await;
        let (exporter, address) = spawned.map_err(|error| FederationError::Metrics(error.to_string()))?;
        tracing::info!(%address, "metrics are served");
        self.exporter = Some(exporter);
        Ok(())
    }

    async fn start_core(&mut self, myself: &FederationRef) -> Result<(), FederationError> {
        self.generation += 1;
        let policies = self.plan.serving.policies();
        let serving = serde_json::json!(policies.names()).to_string();
        let (journal, written) = (self.plan.journal.clone(), self.written);
        let read = blocking("reading the journal", move || Standing::read(&journal, &serving, written));
        let standing = read.await??;
        let forgiven = *self.forgiven.get_or_insert(standing.missed());
        // What an end of the last core kept from the files.
        for (_, row, client_rows) in standing.unwritten {
            let row = serde_json::from_str(&row).map_err(FederationError::Row)?;
            self.write(Box::new(row), &client_rows)?;
        }
        let resume = Resume { latest: standing.latest, stored: standing.stored, misses_forgiven: forgiven };
        self.core =
            Some(Core::start((&self.plan, self.hub.as_ref()), myself, self.generation, policies, resume).await?);
        if self.stopping {
            self.stop();
        }
        Ok(())
    }

    fn stop(&mut self) {
        self.stopping = true;
        if let Some(core) = &self.core {
            // A server that has ended needs no word.
            drop(core.server.cast(ServerMsg::Stop));
        }
    }

    async fn server_event(&mut self, myself: &FederationRef, generation: u32, event: ServerEvent) {
        if self.core.as_ref().is_none_or(|core| core.generation != generation) {
            return;
        }
        match event {
            ServerEvent::Client { round, client, dropped, done, asked } => {
                let client = self.plan.shards.roster().name(client).to_owned();
                self.tell(Progress::Client { round, client, dropped, done, cohort: asked });
            }
            ServerEvent::Round { row, client_rows } => {
                if let Err(error) = self.write(row, &client_rows) {
                    self.end(myself, Err(error)).await;
                }
            }
            ServerEvent::Evaluated { done, of } => self.tell(Progress::Evaluated { done, of }),
            ServerEvent::Warning(warning) => self.tell(Progress::Warning(warning)),
            // With a policy may come a warning about its company.
            ServerEvent::Note(note) if self.plan.serving.warnings().contains(&note) => {
                self.tell(Progress::Warning(note))
            }
            ServerEvent::Note(note) => self.tell(Progress::Note(note)),
            ServerEvent::Reloaded => self.reloaded(myself).await,
            ServerEvent::Finished(finished) => self.end(myself, Ok(finished)).await,
            ServerEvent::Failed(error) => self.end(myself, Err(FederationError::Server(error))).await,
        }
    }

    /// Writes a closed round to the files, and tells of it.
    fn write(&mut self, row: Box<RoundRow>, client_rows: &str) -> Result<(), FederationError> {
        let line = serde_json::json!(row).to_string();
        let written = self.files.as_mut().map_or(Ok(()), |files| files.append(&line, client_rows));
        self.written = Some(row.round);
        if row.round > 0 && row.completed >= row.quorum {
            self.forgiven = Some(0);
        }
        self.tell(Progress::Round(row));
        written
    }

    /// A job that crashes its worker twice is given up and costs whoever asked for it, so it does not count here.
    fn worker_restarted(&self, pool: &'static str) {
        self.tell(Progress::Warning(format!("a {pool} worker crashed and was replaced")));
        let actor = if pool == "trainer" { metrics::Actor::Trainer } else { metrics::Actor::Compressor };
        self.plan.metrics.restarts(actor).inc();
    }

    async fn child_ended(&mut self, myself: &FederationRef, who: &ActorCell, reason: String) {
        let id = who.get_id();
        if self.exporter.as_ref().is_some_and(|exporter| exporter.get_id() == id) {
            let again = self.restarting(metrics::Actor::MetricsExporter, "metrics exporter", &reason);
            let started = if again.is_ok() { self.start_exporter(myself).await } else { again };
            if let Err(error) = started {
                self.end(myself, Err(error)).await;
            }
            return;
        }
        let Some(core) = self.core.take_if(|core| core.members.iter().any(|(member, ..)| *member == id)) else {
            return;
        };
        let counted = match core.members.iter().find(|(member, ..)| *member == id) {
            Some((.., actor, name)) => self.restarting(*actor, name, &reason),
            None => Ok(()),
        };
        core.kill().await;
        let started = if counted.is_ok() { self.start_core(myself).await } else { counted };
        if let Err(error) = started {
            self.end(myself, Err(error)).await;
        }
    }

    /// Starts the core anew with other policies. The server has closed its round and begun no other.
    async fn reloaded(&mut self, myself: &FederationRef) {
        let Some(core) = self.core.take() else { return };
        core.kill().await;
        if let Err(error) = self.start_core(myself).await {
            self.end(myself, Err(error)).await;
        }
    }

    fn restarting(&mut self, kind: metrics::Actor, actor: &str, reason: &str) -> Result<(), FederationError> {
        self.tell(Progress::Warning(format!("the {actor} crashed ({reason}) and is started again")));
        self.count_restart(kind, actor, reason)
    }

    fn count_restart(&mut self, kind: metrics::Actor, actor: &str, reason: &str) -> Result<(), FederationError> {
        self.plan.metrics.restarts(kind).inc();
        let now = Instant::now();
        self.restarts.push_back(now);
        while self.restarts.front().is_some_and(|first| now.duration_since(*first) > WINDOW) {
            self.restarts.pop_front();
        }
        let restarts = self.restarts.len();
        if restarts <= RESTARTS {
            return Ok(());
        }
        let (window_s, limit) = (WINDOW.as_secs(), RESTARTS);
        Err(FederationError::Restarts { restarts, window_s, limit, actor: actor.into(), reason: reason.into() })
    }

    async fn end(&mut self, myself: &FederationRef, ended: Result<Finished, FederationError>) {
        if let Some(core) = self.core.take() {
            // What is in the journal's mailbox is written; the others have nothing to lose.
            drop(core.journal.drain_and_wait(Some(Duration::from_secs(30))).await);
        }
        if let (Some(result), Some(files)) = (self.result.take(), self.files.take()) {
            // The receiver waits for exactly this.
            drop(result.send(ended.map(|finished| (finished, files))));
        }
        myself.stop(None);
    }

    fn sample(&self, myself: &FederationRef) {
        let (Some(core), Some(files)) = (&self.core, &self.files) else { return };
        let (compressors, trainers) = (core.compressors.clone(), core.trainers.clone());
        let (plan, place) = (self.plan.clone(), files.place().clone());
        let (told, crashed) = (myself.clone(), myself.clone());
        let look = async move {
            plan.metrics.compressor_depth().set(compressors.waiting().await);
            plan.metrics.trainer_depth().set(trainers.waiting().await);
            let journal = plan.journal.clone();
            let looked = blocking("the look at the files", move || (place.check(), journal.bytes_on_disk())).await;
            let (checked, bytes) = match looked {
                Ok((checked, bytes)) => (checked, bytes),
                Err(crash) => (Err(crash.into()), Ok(0)),
            };
            // A journal that cannot be asked shows in the run itself.
            plan.metrics.journal_bytes.set(bytes.unwrap_or(0) as i64);
            if let Err(error) = checked {
                // A root that has ended needs no word.
                drop(told.cast(FederationMsg::Lost(error)));
            }
        };
        watched("the sample of the gauges", look, move |crash| {
            drop(crashed.cast(FederationMsg::Lost(crash.into())));
        });
    }

    fn tell(&self, progress: Progress) {
        if let Progress::Warning(warning) = &progress {
            tracing::warn!("{warning}");
        }
        // A run goes on when nobody listens.
        drop(self.progress.send(progress));
    }
}
