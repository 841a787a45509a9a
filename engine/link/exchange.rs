//! The vocabulary of an exchange between the server and one client: what is asked, what is answered, and who asks.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use ractor::ActorCell;

use crate::pool::OwnTime;
use crate::wire::{Frame, UploadHeader};

/// The server's request to a client.
#[derive(Clone)]
pub struct Assignment {
    /// The round.
    pub round: u32,
    /// The client's tier.
    pub tier: u32,
    /// The last round whose update of this client was accepted.
    pub last_seen: Option<u32>,
    /// The frames that bring the client up to date, in order.
    pub catch_up: Vec<Frame>,
    /// The download frame, the same for all of the tier.
    pub frame: Frame,
    /// Set when the answer is no longer wanted.
    pub cancel: Arc<AtomicBool>,
    /// Runs while a worker has a job of this client.
    pub clock: Arc<OwnTime>,
}

/// A client's update.
#[derive(Debug, Clone)]
pub struct ClientUpdate {
    /// The upload frame; examples and loss are in it.
    pub frame: Frame,
    /// The client's state once the round is closed with this update in it; none where it does not change, or where the client
    /// keeps it itself. Not sent: a simulated client's lies in the journal.
    pub state: Option<Vec<u8>>,
    /// Local steps done. For people: nothing depends on this and what follows.
    pub steps: u32,
    /// Seconds of its own work, without its wait for a worker.
    pub seconds: f64,
}

/// The outcome of an exchange.
#[derive(Debug)]
pub enum Answer {
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

/// An upload that came, and what became of it.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    /// The round.
    pub round: u32,
    /// The client's place among the round's candidates.
    pub position: u32,
    /// The client.
    pub client: u32,
    /// Its tier.
    pub tier: u32,
    /// The last round before whose update of this client was accepted.
    pub last_seen: Option<u32>,
    /// The header of the upload.
    pub upload: UploadHeader,
    /// True where the round closes with the update in it.
    pub accepted: bool,
}

/// Something that is awaited.
pub type Future<T> = Pin<Box<dyn std::future::Future<Output = T> + Send>>;

/// The clients as the server sees them, wherever they are.
pub trait Clients: Send + Sync {
    /// Gives `client` its assignment and waits for its answer, at most until its own work has taken `deadline_s` seconds
    /// (0: no deadline). What runs for it in this process does so under `supervisor`.
    fn ask(&self, client: u32, assignment: Assignment, supervisor: ActorCell, deadline_s: f64) -> Future<Answer>;

    /// True where clients keep their states themselves and are told at their next assignment how their last upload ended.
    fn keep_their_states(&self) -> bool;

    /// The state of a client after it heard how its upload ended; none where that changed nothing, or the reason why it could
    /// not hear. Not called where clients keep their states themselves.
    fn acknowledge(&self, outcome: Outcome) -> Future<Result<Option<Vec<u8>>, String>>;

    /// Drops what was on its way for a round, which is closed.
    fn closed(&self, round: u32) -> Future<()>;

    /// Bytes that crossed beside those of frames since this was asked last: to the clients, and from them.
    fn control_bytes(&self) -> [u64; 2];
}
