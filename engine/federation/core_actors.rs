//! The core of a run: the actors that share one fate. In: the plan, and where the journal says that the run stands. Out: all
//! of them at work, or none.

use std::sync::Arc;
use std::time::Duration;

use ractor::{ActorCell, ActorId};

use super::FederationError;
use super::message::{FederationMsg, FederationRef};
use super::plan::Plan;
use super::policies::Policies;
use crate::aggregator::{Aggregator, AggregatorArgs};
use crate::client::{Participants, Simulated};
use crate::compressor::Compressors;
use crate::journal::{ClosedRound, Journal, JournalRef, JournalWriter};
use crate::link::{Hub, Ledger};
use crate::metrics;
use crate::server::{Parts, Reload, Resume, RunTotals, Server, ServerArgs, ServerRef};
use crate::trainer::{TrainerKind, Trainers};

/// The children that share one fate.
pub(super) struct Core {
    pub generation: u32,
    pub journal: JournalRef,
    pub compressors: Compressors,
    pub trainers: Trainers,
    pub server: ServerRef,
    /// Every child, by id, with its name for messages.
    pub members: Vec<(ActorId, ActorCell, metrics::Actor, &'static str)>,
}

impl Core {
    /// Bottom-up: each stage is given the refs of those it uses.
    pub async fn start(
        (plan, hub): (&Arc<Plan>, Option<&Hub>),
        myself: &FederationRef,
        generation: u32,
        policies: Policies,
        resume: Resume,
    ) -> Result<Self, FederationError> {
        let place = |actor: &str| (format!("{}/{actor}", plan.run_dir.display()), myself.get_cell());
        let spawned = |actor| move |source| FederationError::Spawn { actor, source: Arc::new(source) };
        let on_restart = |pool: &'static str| -> Arc<dyn Fn() + Send + Sync> {
            let myself = myself.clone();
            // A root that has ended counts no restarts.
            Arc::new(move || drop(myself.cast(FederationMsg::WorkerRestarted(pool))))
        };
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
        let (codecs, metrics) = (policies.codecs.clone(), plan.metrics.clone());
        let compressors =
            Compressors::spawn(codecs, plan.threads, metrics, place("compressors"), on_restart("compressor")).await;
        let compressors = compressors.map_err(spawned("compressor pool"))?;
        let rates = plan.learning_rates();
        let local = (plan.config.client.clone(), rates);
        let size = (plan.slots(), plan.metrics.clone());
        let trainers =
            Trainers::spawn(plan.shards.clone(), local, size, place("trainers"), on_restart("trainer")).await;
        let trainers = trainers.map_err(spawned("trainer pool"))?;
        let participants = Participants {
            compressors: compressors.clone(),
            trainers: trainers.clone(),
            shards: plan.shards.clone(),
            trainable: plan.trainable.clone(),
            metrics: plan.metrics.clone(),
            privacy: plan.config.privacy.clone(),
            seed: plan.config.run.seed,
            repeatable_noise: true,
        };
        let parts = Parts {
            clients: match hub {
                Some(hub) => Arc::new(hub.clone()),
                None => Arc::new(Simulated { participants, journal: plan.journal.clone() }),
            },
            roster: plan.shards.roster().clone(),
            compressors: compressors.clone(),
            trainers: trainers.clone(),
            journal: plan.journal.clone(),
        };
        let events = myself.clone();
        let mut config = plan.config.server.clone();
        if plan.config.client.trainer == TrainerKind::Noop {
            // A made-up adapter has no loss worth the time.
            config.eval_every = 0;
        }
        let serving = plan.serving.clone();
        let reload: Reload = Arc::new(move || serving.reload());
        let server = ServerArgs {
            config,
            rounds: plan.rounds(),
            byte_budget: plan.config.run.byte_budget,
            expected: plan.expected,
            seed: plan.config.run.seed,
            noise_seed: hub.map_or(plan.config.run.seed, Hub::secret_seed),
            window: window(plan),
            initial: plan.initial.clone(),
            rates,
            tiers: plan.tiers.clone(),
            resume,
            privacy: plan.spending.clone().map(|spending| (plan.config.privacy.clone(), spending)),
            policies: policies.names(),
            reload: plan.config.policy.watch.then_some(reload),
            parts,
            ledger: Ledger::new(plan.metrics.clone(), plan.dense_frame),
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
        Ok(Self { generation, journal, compressors, trainers, server, members })
    }

    /// The survivors' states belong to a round that starts anew; one that has ended already is fine too.
    pub async fn kill(self) {
        let journal = self.journal.get_id();
        for (_, cell, ..) in self.members.into_iter().filter(|(id, ..)| *id != journal) {
            drop(cell.kill_and_wait(Some(Duration::from_secs(5))).await);
        }
        // What is on its way to the disk gets there before the next core asks where the run stands.
        drop(self.journal.drain_and_wait(Some(Duration::from_secs(30))).await);
    }
}

/// Bytes that the updates under way may have together, each as long as a dense f32 frame, before fewer are under way.
const IN_FLIGHT_BYTES: u64 = 256 << 20;

/// Exchanges under way at the same time: four a thread, of long updates fewer, but never fewer than train side by side. A
/// result does not depend on it.
fn window(plan: &Plan) -> usize {
    let most = 4 * plan.threads;
    let fit = usize::try_from(IN_FLIGHT_BYTES / plan.dense_frame.max(1)).unwrap_or(most);
    fit.clamp(plan.slots().min(most), most)
}

/// The journal's state before a core begins.
pub(super) struct Standing {
    /// Closed rounds that the files do not have, with their lines.
    pub unwritten: Vec<(u32, String, String)>,
    /// The last closed round; none in a fresh run.
    pub latest: Option<ClosedRound>,
    /// Places of the next round whose answer is stored.
    pub stored: Vec<u32>,
}

impl Standing {
    /// Reads it for a core that `serving` names the policies of. Blocking.
    pub fn read(journal: &Journal, serving: &str, written: Option<u32>) -> Result<Self, FederationError> {
        // First of all: what other policies made for the round to come is not to be found.
        journal.serve(serving)?;
        let latest = journal.latest()?;
        let next = latest.as_ref().map_or(1, |latest| latest.round + 1);
        Ok(Self { unwritten: journal.rows_after(written)?, latest, stored: journal.update_positions(next)? })
    }

    /// Rounds that missed their quorum last, one after the other.
    pub fn missed(&self) -> u32 {
        // A ledger that cannot be read is the server's to complain of.
        let totals = self.latest.as_ref().and_then(|latest| serde_json::from_str::<RunTotals>(&latest.ledger).ok());
        totals.map_or(0, |totals| totals.tally.missed_in_a_row)
    }
}
