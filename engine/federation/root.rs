//! The Federation actor: root supervisor of a run.
//!
//! Its children are named in ractor's registry `<run directory>/<actor>`. They are the core (Journal, Aggregator, compressor pool, trainer pool, Server) and the MetricsExporter.
//! The pools replace their own workers. When a core actor crashes, the whole core is started anew from the journal:
//! their states belong together, and the journal is the only one of them that is true after a crash. When restarts
//! come too fast, the run ends with the reason.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::{mpsc, oneshot};

use super::plan::Plan;
use super::run_dir::RunDir;
use super::{FederationError, Progress};
use crate::aggregator::{Aggregator, AggregatorArgs};
use crate::client::Participants;
use crate::compressor::Compressors;
use crate::journal::{JournalRef, JournalWriter};
use crate::link::Link;
use crate::metrics::{self, Exporter, MetricsExporter, MetricsExporterArgs, MetricsExporterRef};
use crate::server::{Finished, Refresh, Resume, Server, ServerArgs, ServerEvent, ServerMsg, ServerRef};
use crate::trainer::{TrainerKind, Trainers};

/// How the run reaches its root.
pub(super) type FederationRef = ActorRef<FederationMsg>;

/// The actor.
pub(super) struct Federation;

/// What the root is told.
pub(super) enum FederationMsg {
    /// Finish what is being closed, give up the rest, and end.
    Stop,
    /// The server says something; the number is the core's generation.
    Server(u32, Box<ServerEvent>),
    /// A pool has replaced a crashed worker.
    WorkerRestarted(&'static str),
    /// Read the gauges that nobody pushes.
    Sample,
}

/// What the actor is made of.
pub(super) struct FederationArgs {
    pub plan: Arc<Plan>,
    pub files: RunDir,
    /// Where the metrics are served, bound before anything was made.
    pub endpoint: Option<Exporter>,
    pub progress: mpsc::UnboundedSender<Progress>,
    pub result: oneshot::Sender<Result<(Finished, RunDir), FederationError>>,
}

/// Restarts allowed in a window; the next one ends the run.
const RESTARTS: usize = 5;
const WINDOW: Duration = Duration::from_secs(60);

/// The children that share one fate.
struct Core {
    generation: u32,
    journal: JournalRef,
    compressors: Compressors,
    trainers: Trainers,
    server: ServerRef,
    /// Every child, by id, with its name for messages.
    members: Vec<(ActorId, ActorCell, metrics::Actor, &'static str)>,
}

impl Core {
    /// The survivors' states belong to a round that starts anew; one that has ended already is fine too.
    async fn kill(self) {
        let journal = self.journal.get_id();
        for (_, cell, ..) in self.members.into_iter().filter(|(id, ..)| *id != journal) {
            drop(cell.kill_and_wait(Some(Duration::from_secs(5))).await);
        }
        // What is on its way to the disk gets there before the next core asks where the run stands.
        drop(self.journal.drain_and_wait(Some(Duration::from_secs(30))).await);
    }
}

/// The actor's state.
pub(super) struct FederationState {
    plan: Arc<Plan>,
    files: Option<RunDir>,
    progress: mpsc::UnboundedSender<Progress>,
    result: Option<oneshot::Sender<Result<(Finished, RunDir), FederationError>>>,
    core: Option<Core>,
    endpoint: Option<Exporter>,
    exporter: Option<MetricsExporterRef>,
    restarts: VecDeque<Instant>,
    generation: u32,
    stopping: bool,
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
        let FederationArgs { plan, files, endpoint, progress, result } = args;
        let mut state = FederationState {
            plan,
            files: Some(files),
            progress,
            result: Some(result),
            core: None,
            endpoint,
            exporter: None,
            restarts: VecDeque::new(),
            generation: 0,
            stopping: false,
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
            FederationMsg::WorkerRestarted(pool) => state.worker_restarted(&myself, pool).await,
            FederationMsg::Sample => state.sample(),
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

    /// Bottom-up: each stage is given the refs of those it uses.
    async fn start_core(&mut self, myself: &FederationRef) -> Result<(), FederationError> {
        self.generation += 1;
        let (plan, generation) = (self.plan.clone(), self.generation);
        let place = |actor: &str| (format!("{}/{actor}", plan.run_dir.display()), myself.get_cell());
        let spawned = |actor| move |source| FederationError::Spawn { actor, source: Arc::new(source) };
        let on_restart = |pool: &'static str| -> Arc<dyn Fn() + Send + Sync> {
            let myself = myself.clone();
            // A root that has ended counts no restarts.
            Arc::new(move || drop(myself.cast(FederationMsg::WorkerRestarted(pool))))
        };
        let policies = plan.serving.policies();
        let names = policies.names();
        // First of all: what other policies made for the round to come is not to be found.
        plan.journal.serve(&serde_json::json!(names).to_string())?;
        let latest = plan.journal.latest()?;
        let next = latest.as_ref().map_or(1, |latest| latest.round + 1);
        let stored = plan.journal.update_positions(next)?;
        let commits = plan.metrics.journal_commit_seconds.clone();
        let on_commit = Arc::new(move |seconds| commits.observe(seconds));
        let journal = JournalWriter::spawn((plan.journal.clone(), on_commit), place("journal")).await;
        let journal = journal.map_err(spawned("journal"))?;
        let aggregator = AggregatorArgs {
            config: plan.config.aggregate.clone(),
            policy: policies.aggregation.clone(),
            layout: plan.layout.clone(),
            codecs: policies.codecs.clone(),
            max_norm: plan.config.server.max_update_norm,
            clip: plan.server_clip(),
            metrics: plan.metrics.clone(),
        };
        let aggregator = Aggregator::spawn(aggregator, place("aggregator")).await.map_err(spawned("aggregator"))?;
        let (codecs, metrics) = (policies.codecs, plan.metrics.clone());
        let compressors =
            Compressors::spawn(codecs, plan.threads, metrics, place("compressors"), on_restart("compressor")).await;
        let compressors = compressors.map_err(spawned("compressor pool"))?;
        let local = plan.config.client.clone();
        let size = (plan.slots(), plan.metrics.clone());
        let trainers =
            Trainers::spawn(plan.shards.clone(), local, size, place("trainers"), on_restart("trainer")).await;
        let trainers = trainers.map_err(spawned("trainer pool"))?;
        let participants = Participants {
            compressors: compressors.clone(),
            trainers: trainers.clone(),
            shards: plan.shards.clone(),
            journal: plan.journal.clone(),
            trainable: plan.trainable.clone(),
            metrics: plan.metrics.clone(),
            privacy: plan.config.privacy.clone(),
            seed: plan.config.run.seed,
        };
        let events = myself.clone();
        let mut config = plan.config.server.clone();
        if plan.config.client.trainer == TrainerKind::Noop {
            // A made-up adapter has no loss worth the time.
            config.eval_every = 0;
        }
        let serving = plan.serving.clone();
        let refresh: Refresh = Arc::new(move || serving.refresh());
        let server = ServerArgs {
            config,
            rounds: plan.rounds(),
            seed: plan.config.run.seed,
            window: 4 * plan.threads,
            dense_frame: plan.dense_frame,
            initial: plan.initial.clone(),
            tiers: plan.tiers.clone(),
            resume: Resume { latest, stored },
            privacy: plan.spending.clone().map(|spending| (plan.config.privacy.clone(), spending)),
            policies: names,
            refresh: plan.config.policy.watch.then_some(refresh),
            participants,
            link: Link::new(plan.metrics.clone(), plan.dense_frame),
            aggregator: aggregator.clone(),
            journal: journal.clone(),
            metrics: plan.metrics.clone(),
            // A root that has ended hears nothing.
            events: Arc::new(move |event| drop(events.cast(FederationMsg::Server(generation, Box::new(event))))),
        };
        let server = Server::spawn(server, place("server")).await.map_err(spawned("server"))?;
        let members = [
            (journal.get_cell(), metrics::Actor::Journal, "journal"),
            (aggregator.get_cell(), metrics::Actor::Aggregator, "aggregator"),
            (compressors.actor(), metrics::Actor::Compressor, "compressor pool"),
            (trainers.actor(), metrics::Actor::Trainer, "trainer pool"),
            (server.get_cell(), metrics::Actor::Server, "server"),
        ];
        let members = members.into_iter().map(|(cell, kind, name)| (cell.get_id(), cell, kind, name)).collect();
        self.core = Some(Core { generation, journal, compressors, trainers, server, members });
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
                let client = self.plan.shards.name(client).to_owned();
                self.tell(Progress::Client { round, client, dropped, done, cohort: asked });
            }
            ServerEvent::Round { row, client_rows } => {
                let line = serde_json::json!(row).to_string();
                let written = self.files.as_mut().map_or(Ok(()), |files| files.append(&line, &client_rows));
                self.tell(Progress::Round(row));
                if let Err(error) = written {
                    self.end(myself, Err(error)).await;
                }
            }
            ServerEvent::Warning(warning) => self.tell(Progress::Warning(warning)),
            // With a policy may come a warning about its company.
            ServerEvent::Note(note) if self.plan.serving.warnings().contains(&note) => {
                self.tell(Progress::Warning(note))
            }
            ServerEvent::Note(note) => self.tell(Progress::Note(note)),
            ServerEvent::Refreshed => self.refreshed(myself).await,
            ServerEvent::Finished(finished) => self.end(myself, Ok(finished)).await,
            ServerEvent::Failed(error) => self.end(myself, Err(FederationError::Server(error))).await,
        }
    }

    async fn worker_restarted(&mut self, myself: &FederationRef, pool: &'static str) {
        self.tell(Progress::Warning(format!("a {pool} worker crashed and was replaced")));
        let actor = if pool == "trainer" { metrics::Actor::Trainer } else { metrics::Actor::Compressor };
        if let Err(error) = self.count_restart(actor, pool, "it panicked on its job") {
            self.end(myself, Err(error)).await;
        }
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
    async fn refreshed(&mut self, myself: &FederationRef) {
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

    fn sample(&self) {
        let Some(core) = &self.core else { return };
        let (compressors, trainers) = (core.compressors.clone(), core.trainers.clone());
        let plan = self.plan.clone();
        tokio::spawn(async move {
            plan.metrics.compressor_depth().set(compressors.waiting().await);
            plan.metrics.trainer_depth().set(trainers.waiting().await);
            // A journal that cannot be asked shows in the run itself.
            plan.metrics.journal_bytes.set(plan.journal.bytes_on_disk().unwrap_or(0) as i64);
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
