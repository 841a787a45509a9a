//! The Journal actor: one writer, group commit. Everything that arrives while a commit runs shares the next one.

use std::sync::Arc;

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, RpcReplyPort, SpawnErr};

use super::{ClosedRound, Journal, JournalError, StoredUpdate, Verdict};
use crate::pool::blocking;

/// A reference to the journal, for its messages.
pub type JournalRef = ActorRef<JournalMsg>;

/// The actor.
pub struct JournalWriter;

/// The journal's messages. A reply means that the write is durable.
pub enum JournalMsg {
    /// Keep a client's answer until its round is closed.
    Put {
        /// The round.
        round: u32,
        /// The answer.
        update: StoredUpdate,
        /// When it is durable.
        reply: RpcReplyPort<Result<(), Arc<JournalError>>>,
    },
    /// Commit what was put.
    Flush,
    /// Read a client's answer back.
    Get {
        /// The round.
        round: u32,
        /// Place in the cohort.
        position: u32,
        /// The answer, none where there is none.
        reply: RpcReplyPort<Result<Option<StoredUpdate>, Arc<JournalError>>>,
    },
    /// Keep what clients remember after they were told how their uploads ended, until the round is closed.
    Settled {
        /// The round.
        round: u32,
        /// States by position.
        states: Vec<(u32, Vec<u8>)>,
        /// When they are durable.
        reply: RpcReplyPort<Result<(), Arc<JournalError>>>,
    },
    /// Close a round; its answers are dropped with it.
    Close {
        /// The round's end.
        closed: Box<ClosedRound>,
        /// The clients that remember the round.
        verdicts: Vec<Verdict>,
        /// When it is durable.
        reply: RpcReplyPort<Result<(), Arc<JournalError>>>,
    },
}

/// The name of the work in a panic's message.
const WRITING: &str = "writing the journal";

type Waiting = (u32, StoredUpdate, RpcReplyPort<Result<(), Arc<JournalError>>>);

/// The journal, and what is told the seconds of each commit.
pub type JournalArgs = (Arc<Journal>, Arc<dyn Fn(f64) + Send + Sync>);

/// The actor's state.
pub struct WriterState {
    journal: Arc<Journal>,
    on_commit: Arc<dyn Fn(f64) + Send + Sync>,
    waiting: Vec<Waiting>,
}

impl JournalWriter {
    /// Starts the actor under `supervisor`, known to ractor's registry as `name`.
    ///
    /// # Errors
    /// Ractor's error.
    pub async fn spawn(args: JournalArgs, (name, supervisor): (String, ActorCell)) -> Result<JournalRef, SpawnErr> {
        Ok(Actor::spawn_linked(Some(name), Self, args, supervisor).await?.0)
    }
}

impl Actor for JournalWriter {
    type Msg = JournalMsg;
    type State = WriterState;
    type Arguments = JournalArgs;

    async fn pre_start(
        &self,
        _: JournalRef,
        (journal, on_commit): JournalArgs,
    ) -> Result<WriterState, ActorProcessingErr> {
        Ok(WriterState { journal, on_commit, waiting: Vec::new() })
    }

    async fn handle(
        &self,
        myself: JournalRef,
        message: JournalMsg,
        state: &mut WriterState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            JournalMsg::Put { round, update, reply } => state.put(&myself, (round, update, reply)),
            JournalMsg::Flush => state.flush().await,
            JournalMsg::Get { round, position, reply } => state.get(round, position, reply).await,
            JournalMsg::Settled { round, states, reply } => {
                state.write(reply, move |journal| journal.put_settled_states(round, &states)).await
            }
            JournalMsg::Close { closed, verdicts, reply } => {
                state.write(reply, move |journal| journal.close_round(&closed, &verdicts)).await
            }
        }
    }

    async fn post_stop(&self, _: JournalRef, state: &mut WriterState) -> Result<(), ActorProcessingErr> {
        state.flush().await
    }
}

impl WriterState {
    fn put(&mut self, myself: &JournalRef, waiting: Waiting) -> Result<(), ActorProcessingErr> {
        if self.waiting.is_empty() {
            // The flush queues behind every put that is in the mailbox already: they share its commit.
            myself.cast(JournalMsg::Flush)?;
        }
        self.waiting.push(waiting);
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), ActorProcessingErr> {
        let mut waiting = std::mem::take(&mut self.waiting);
        while let Some(round) = waiting.first().map(|(round, ..)| *round) {
            let (this, rest): (Vec<Waiting>, Vec<Waiting>) = waiting.into_iter().partition(|(of, ..)| *of == round);
            waiting = rest;
            let (updates, replies): (Vec<_>, Vec<_>) =
                this.into_iter().map(|(_, update, reply)| (update, reply)).unzip();
            let journal = self.journal.clone();
            let done = blocking(WRITING, move || journal.put_updates(round, &updates)).await?;
            (self.on_commit)(self.journal.last_commit_seconds());
            let done = done.map_err(Arc::new);
            for reply in replies {
                drop(reply.send(done.clone()));
            }
        }
        Ok(())
    }

    async fn get(
        &mut self,
        round: u32,
        position: u32,
        reply: RpcReplyPort<Result<Option<StoredUpdate>, Arc<JournalError>>>,
    ) -> Result<(), ActorProcessingErr> {
        let journal = self.journal.clone();
        let found = blocking("reading the journal", move || journal.update(round, position)).await?;
        drop(reply.send(found.map_err(Arc::new)));
        Ok(())
    }

    /// One transaction of its own, after everything that was put before it.
    async fn write(
        &mut self,
        reply: RpcReplyPort<Result<(), Arc<JournalError>>>,
        write: impl FnOnce(&Journal) -> Result<(), JournalError> + Send + 'static,
    ) -> Result<(), ActorProcessingErr> {
        self.flush().await?;
        let journal = self.journal.clone();
        let done = blocking(WRITING, move || write(&journal)).await?;
        (self.on_commit)(self.journal.last_commit_seconds());
        drop(reply.send(done.map_err(Arc::new)));
        Ok(())
    }
}
