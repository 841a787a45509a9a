//! The Server actor: moves messages between the round's state machine and the other actors.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use ractor::rpc::CallResult;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};

use super::closing::{self, View};
use super::exchange::{Answer, ask};
use super::round::{Effect, Input, Round};
use super::state::{Ending, Open, Phase, ServerState};
use super::{ServerArgs, ServerError, sampler};
use crate::aggregator::{Accepted, Aggregate, AggregateError, AggregatorMsg};
use crate::client::{Assignment, ClientUpdate};
use crate::journal::{JournalError, JournalMsg, StoredUpdate};

/// How others reach the server.
pub type ServerRef = ActorRef<ServerMsg>;

/// The actor.
pub struct Server;

/// What the server is told.
pub enum ServerMsg {
    /// Finish what is being closed, give up what is not, and end.
    Stop,
    /// An answer to one of its own requests.
    Reply(Reply),
}

/// An answer to one of the server's own requests; opaque to others.
pub struct Reply(Internal);

/// Answers to the server's own requests; late ones carry their round and are dropped.
pub(super) enum Internal {
    /// What goes down next is encoded and, where due, evaluated.
    Looked(Result<Looked, ServerError>),
    /// A client is through.
    Answered(u32, u32, Source),
    /// A client's answer is durable, or not; with the update that waited for it.
    Stored(u32, u32, Option<ClientUpdate>, Result<(), Arc<JournalError>>),
    /// The aggregator had a client's turn.
    Taken(u32, u32, Result<Accepted, AggregateError>),
    /// The aggregate.
    Aggregated(u32, Result<Aggregate, AggregateError>),
    /// The round's end is durable, or not.
    Closed(Result<(), Arc<JournalError>>),
}

/// Where an answer comes from.
pub(super) enum Source {
    /// A client that was asked.
    Live(Answer),
    /// The journal of a run that was interrupted.
    Replayed(Result<Option<StoredUpdate>, Arc<JournalError>>),
}

/// What [`closing::look`] saw, and the round that waits for it.
pub(super) struct Looked {
    ending: Option<Box<Ending>>,
    view: View,
}

impl Server {
    /// Starts the actor under `supervisor`, known to ractor's registry as `name`.
    ///
    /// # Errors
    /// What ractor says, or a stored state that does not fit.
    pub async fn spawn(args: ServerArgs, (name, supervisor): (String, ActorCell)) -> Result<ServerRef, SpawnErr> {
        Ok(Actor::spawn_linked(Some(name), Self, args, supervisor).await?.0)
    }
}

impl Actor for Server {
    type Msg = ServerMsg;
    type State = ServerState;
    type Arguments = ServerArgs;

    async fn pre_start(&self, _: ServerRef, args: ServerArgs) -> Result<ServerState, ActorProcessingErr> {
        Ok(ServerState::new(args)?)
    }

    async fn post_start(&self, myself: ServerRef, state: &mut ServerState) -> Result<(), ActorProcessingErr> {
        let fresh = state.args.resume.latest.is_none();
        // Round 0 is the state before any training: evaluated and stored like any other.
        let ending = fresh.then(|| {
            let (row, model) = (state.row(0, None, 0.0), state.model.clone());
            Box::new(Ending { row, client_rows: String::new(), model, view: None })
        });
        state.look(&myself, ending);
        Ok(())
    }

    async fn handle(
        &self,
        myself: ServerRef,
        message: ServerMsg,
        state: &mut ServerState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ServerMsg::Stop => state.stop(&myself),
            ServerMsg::Reply(Reply(Internal::Looked(looked))) => state.looked(&myself, looked),
            ServerMsg::Reply(Reply(Internal::Answered(round, position, answer))) => {
                state.answered(&myself, round, position, answer);
            }
            ServerMsg::Reply(Reply(Internal::Stored(round, position, update, stored))) => {
                state.stored(&myself, (round, position), update, stored);
            }
            ServerMsg::Reply(Reply(Internal::Taken(round, position, taken))) => {
                state.taken(&myself, round, position, taken);
            }
            ServerMsg::Reply(Reply(Internal::Aggregated(round, aggregate))) => {
                state.aggregated(&myself, round, aggregate);
            }
            ServerMsg::Reply(Reply(Internal::Closed(closed))) => state.closed(&myself, closed),
        }
        Ok(())
    }

    /// A client's crash reaches the server as a dropped reply port; its supervision event adds nothing.
    async fn handle_supervisor_evt(
        &self,
        _: ServerRef,
        _: SupervisionEvent,
        _: &mut ServerState,
    ) -> Result<(), ActorProcessingErr> {
        Ok(())
    }
}

pub(super) fn send(myself: &ServerRef, message: Internal) {
    // A server that has stopped needs no answers.
    drop(myself.cast(ServerMsg::Reply(Reply(message))));
}

impl ServerState {
    /// Encodes and evaluates the present weights, or those of a round that is ending.
    pub(super) fn look(&mut self, myself: &ServerRef, ending: Option<Box<Ending>>) {
        let round = ending.as_ref().map_or(self.closed, |ending| ending.row.round);
        let weights = ending.as_ref().map_or_else(|| self.model.weights.clone(), |ending| ending.model.weights.clone());
        // A resumed run has the evaluation of its last round in the journal already.
        let evaluate = self.evaluates(round) && ending.is_some();
        let participants = self.args.participants.clone();
        let (myself, stop) = (myself.clone(), self.stop.clone());
        self.phase = Phase::Looking;
        tokio::spawn(async move {
            let (compressors, trainers) = (&participants.compressors, &participants.trainers);
            let view = closing::look(&weights, round, evaluate, compressors, trainers, &stop).await;
            send(&myself, Internal::Looked(view.map(|view| Looked { ending, view })));
        });
    }

    pub(super) fn looked(&mut self, myself: &ServerRef, looked: Result<Looked, ServerError>) {
        let Looked { ending, view } = match looked {
            Ok(looked) => looked,
            // A stopped server cancels the evaluation; what is closed stays.
            Err(_) if self.stop.load(Ordering::Relaxed) => return self.finish(myself, true),
            Err(error) => return self.fail(myself, error),
        };
        let Some(mut ending) = ending else {
            self.view = Some(view);
            return self.next(myself);
        };
        ending.row.eval_loss = view.loss;
        ending.row.eval_metric = view.loss.map(f64::exp);
        ending.row.eval_loss_dense_copy = view.loss_dense_copy;
        ending.view = Some(view);
        self.store_end(myself, ending);
    }

    /// Begins the next round, or ends the run.
    pub(super) fn next(&mut self, myself: &ServerRef) {
        if self.closed >= self.args.rounds {
            return self.finish(myself, false);
        }
        if self.stop.load(Ordering::Relaxed) {
            return self.finish(myself, true);
        }
        let Some(view) = &self.view else { return };
        let number = self.closed + 1;
        let config = &self.args.config;
        let stand_ins = (config.cohort as f64 * f64::from(config.over_selection)).ceil() as usize;
        let clients = self.args.participants.shards.clients() as u32;
        let candidates = sampler::sample(self.args.seed, number, clients, config.cohort + stand_ins);
        let cohort = config.cohort.min(candidates.len());
        let quorum = (cohort as f64 * f64::from(config.quorum)).ceil() as usize;
        let stored = std::mem::take(&mut self.args.resume.stored);
        let down_split = match self.args.link.weigh(&view.frame) {
            Ok(split) => split,
            Err(source) => return self.fail(myself, ServerError::Download { round: number, source: source.into() }),
        };
        let cancels = candidates.iter().map(|_| Arc::new(AtomicBool::new(false))).collect();
        let mut open = Open {
            number,
            machine: Round::new(candidates.len(), cohort, quorum, self.args.window, &stored),
            answers: vec![None; candidates.len()],
            candidates,
            started: Instant::now(),
            losses: Vec::new(),
            client_rows: Vec::new(),
            last_drop: None,
            down_split,
            cancels,
        };
        if self.args.aggregator.cast(AggregatorMsg::Begin { round: number }).is_err() {
            // The supervisor sees the aggregator's end too, and starts this server again with a new one.
            return;
        }
        let effects = open.machine.handle(Input::Begin);
        self.phase = Phase::Round(Box::new(open));
        self.apply(myself, effects);
    }

    pub(super) fn handle_input(&mut self, myself: &ServerRef, input: Input) {
        if let Phase::Round(open) = &mut self.phase {
            let effects = open.machine.handle(input);
            self.apply(myself, effects);
        }
    }

    pub(super) fn apply(&mut self, myself: &ServerRef, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Ask(position) => self.ask(myself, position),
                Effect::Replay(position) => self.replay(myself, position),
                Effect::Skip(position) => self.skip(position),
                Effect::Finish => self.finish_round(myself),
                Effect::Miss => self.miss(myself),
            }
        }
    }

    pub(super) fn ask(&mut self, myself: &ServerRef, position: u32) {
        let (Phase::Round(open), Some(view)) = (&self.phase, &self.view) else { return };
        let (round, client, frame) = (open.number, open.candidates[position as usize], view.frame.clone());
        let assignment = Assignment { round, frame, cancel: open.cancels[position as usize].clone() };
        self.args.link.down(&open.down_split);
        self.ledger.count_down(open.down_split);
        let (participants, deadline_s) = (self.args.participants.clone(), self.args.config.deadline_s);
        let myself = myself.clone();
        self.args.metrics.clients_in_flight.inc();
        tokio::spawn(async move {
            let answer = ask(client, assignment, participants, myself.get_cell(), deadline_s).await;
            send(&myself, Internal::Answered(round, position, Source::Live(answer)));
        });
    }

    pub(super) fn replay(&mut self, myself: &ServerRef, position: u32) {
        let Phase::Round(open) = &self.phase else { return };
        let round = open.number;
        self.args.link.down(&open.down_split);
        self.ledger.count_down(open.down_split);
        self.args.metrics.clients_in_flight.inc();
        let (journal, myself) = (self.args.journal.clone(), myself.clone());
        tokio::spawn(async move {
            let stored = journal.call(|reply| JournalMsg::Get { round, position, reply }, None).await;
            if let Ok(CallResult::Success(stored)) = stored {
                send(&myself, Internal::Answered(round, position, Source::Replayed(stored)));
            }
        });
    }
}
