//! One exchange with one client, off the server's mailbox: spawn its actor, give it the assignment, name the outcome.

use std::sync::atomic::Ordering;
use std::time::Duration;

use ractor::ActorCell;
use ractor::rpc::CallResult;

use crate::client::{Assignment, Client, ClientArgs, ClientError, ClientMsg, ClientUpdate, Participants};
use crate::pool::PoolError;
use crate::trainer::TrainerError;

/// The outcome of an exchange.
#[derive(Debug)]
pub(super) enum Answer {
    /// The client has an update.
    Update(ClientUpdate),
    /// The client failed, with its own reason.
    Failed(String),
    /// The deadline passed, seconds.
    Late(f64),
    /// The client's actor crashed.
    Crashed,
    /// The server cancelled the exchange.
    Cancelled,
    /// All workers of a pool have ended.
    NoWorkers,
}

/// Gives `client` its assignment and waits for its answer, at most until its own work has taken `deadline_s` seconds
/// (0: no deadline).
pub(super) async fn ask(
    client: u32,
    assignment: Assignment,
    participants: Participants,
    supervisor: ActorCell,
    deadline_s: f64,
) -> Answer {
    let actor = match Client::spawn(ClientArgs { client, participants }, supervisor).await {
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
