//! Clients that are simulated in the server's process: an actor for each exchange, states in the server's journal.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ractor::ActorCell;
use ractor::rpc::CallResult;

use super::actor::{Client, ClientArgs, ClientMsg};
use super::exchange::{ClientError, Participants};
use super::state::ClientState;
use crate::compressor::Occasion;
use crate::journal::Journal;
use crate::link::{Answer, Assignment, Clients, Future, Outcome};
use crate::pool::{PoolError, blocking};
use crate::trainer::TrainerError;

/// All clients of a simulated federation.
#[derive(Clone)]
pub struct Simulated {
    /// The parts that they share.
    pub participants: Participants,
    /// The journal with each client's state.
    pub journal: Arc<Journal>,
}

impl Clients for Simulated {
    fn ask(&self, client: u32, assignment: Assignment, supervisor: ActorCell, deadline_s: f64) -> Future<Answer> {
        let Self { participants, journal } = self.clone();
        Box::pin(ask(ClientArgs { client, participants, journal }, assignment, supervisor, deadline_s))
    }

    fn keep_their_states(&self) -> bool {
        false
    }

    fn acknowledge(&self, outcome: Outcome) -> Future<Result<Option<Vec<u8>>, String>> {
        let clients = self.clone();
        Box::pin(async move { acknowledge(outcome, &clients).await.map_err(|error| error.to_string()) })
    }

    fn closed(&self, _: u32) -> Future<()> {
        Box::pin(std::future::ready(()))
    }

    fn control_bytes(&self) -> [u64; 2] {
        [0, 0]
    }
}

async fn ask(args: ClientArgs, assignment: Assignment, supervisor: ActorCell, deadline_s: f64) -> Answer {
    let actor = match Client::spawn(args, supervisor).await {
        Ok(actor) => actor,
        Err(error) => return Answer::Failed(error.to_string()),
    };
    let (cancel, clock) = (assignment.cancel.clone(), assignment.clock.clone());
    let late = async {
        if deadline_s > 0.0 {
            clock.reaches(Duration::from_secs_f64(deadline_s)).await;
        } else {
            std::future::pending::<()>().await;
        }
    };
    let answer = tokio::select! {
        biased;
        answer = actor.call(|reply| ClientMsg::Take { assignment, reply }, None) => answer,
        () = late => Ok(CallResult::Timeout),
    };
    match answer {
        Ok(CallResult::Success(Ok(update))) => Answer::Update(update),
        Ok(CallResult::Success(Err(ClientError::Trainer(TrainerError::Cancelled { .. })))) => Answer::Cancelled,
        Ok(CallResult::Success(Err(ClientError::Pool(PoolError::Closed { .. })))) => Answer::NoWorkers,
        Ok(CallResult::Success(Err(error))) => Answer::Failed(error.to_string()),
        Ok(CallResult::Timeout) => {
            cancel.store(true, Ordering::Relaxed);
            Answer::Late(deadline_s)
        }
        Ok(CallResult::SenderError) | Err(_) if cancel.load(Ordering::Relaxed) => Answer::Cancelled,
        Ok(CallResult::SenderError) | Err(_) => Answer::Crashed,
    }
}

/// The client's state after its acknowledgement; none where that changed nothing.
async fn acknowledge(outcome: Outcome, clients: &Simulated) -> Result<Option<Vec<u8>>, ClientError> {
    let Outcome { round, position, client, tier, last_seen, upload, accepted } = outcome;
    let Simulated { participants, journal } = clients;
    let (journal, plan) = (journal.clone(), participants.compressors.plans().upload.clone());
    let values = plan.values();
    let read = blocking("reading a client's state", move || {
        let staged = if accepted { journal.staged_state(round, position)? } else { None };
        let stored = match staged {
            Some(staged) => Some(staged),
            None => journal.client_state(client)?,
        };
        Ok::<_, ClientError>(ClientState::from_bytes(&stored.unwrap_or_default(), values)?)
    });
    let mut state = read.await??;
    let occasion = Occasion { upload, ..Occasion::of_client(round, client, tier, last_seen) };
    let name = &plan.policy().name;
    let memory = participants.compressors.acknowledge(occasion, accepted, state.memories.of(name)).await??;
    state.memories.keep(name, memory);
    if !state.memories.changed() {
        return Ok(None);
    }
    let state = Arc::new(state);
    Ok(blocking("writing a client's state", move || state.to_bytes()).await.map(Some)?)
}
