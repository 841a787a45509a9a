//! A client in a process of its own: orders of the server in; its state, settled and staged, and updates out.
//!
//! It settles on contact: the next assignment names the last round whose update of this client was accepted, which says how its
//! last upload ended. An assignment that it has the upload of is not worked on again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::exchange::{ClientError, Participants, exchange};
use super::state::{ClientState, DamagedState};
use super::store::{Staged, Store, StoreError, StoredReference};
use crate::compressor::{CompressorError, Occasion, Reference};
use crate::link::{Assignment, ClientUpdate, LinkError, Membership, OrderTo, Orders, State, Work};
use crate::pool::{Crash, OwnTime, PoolError, Task, blocking};

/// Signs of life in the time after which a silent client is given up.
const SIGNS: f64 = 5.0;
/// The longest time between two of them.
const LONGEST_PAUSE_S: f64 = 1.0;

/// The reason why a client's own part of an assignment failed.
#[derive(Debug, thiserror::Error)]
pub enum MemberError {
    /// The link.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The client's store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its state.
    #[error(transparent)]
    State(#[from] DamagedState),
    /// The work.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A policy's hook between the rounds.
    #[error(transparent)]
    Compressor(#[from] CompressorError),
    /// A part that crashed.
    #[error(transparent)]
    Crash(#[from] Crash),
    /// The workers.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// An assignment that builds on a round which this store does not have.
    #[error(
        "the server goes by round {expected} as the last one of this client, its store knows of round {found}: the store is \
         another, or an older copy"
    )]
    Behind {
        /// The round that the server means.
        expected: u32,
        /// The round that is there.
        found: u32,
    },
}

/// The parts of a member.
pub struct Member {
    /// Compressors, trainers and data of this process.
    pub participants: Participants,
    /// The connection.
    pub link: Membership,
    /// The run whose manifest it agrees with.
    pub run: String,
    /// Section `link`'s `silence_s`.
    pub silence_s: f64,
    /// The receiver of what is to be said to people.
    pub say: Arc<dyn Fn(String) + Send + Sync>,
}

/// The end of a member's part in a run.
#[derive(Debug)]
pub enum MemberEnd {
    /// The run is over, after so many uploads of this process.
    Over(u32),
    /// Another process is wanted in its place, or none.
    Unwanted(String),
    /// The server has another run by now: its name, the client's number, its manifest.
    OtherRun(String, u32, String),
    /// It was told to stop.
    Stopped,
    /// The connection was given up.
    Lost,
}

/// The store, which the work under way shares with nobody.
type Shared = Arc<Mutex<Store>>;

/// Work under way.
struct Job {
    id: Vec<u8>,
    clock: Arc<OwnTime>,
    cancel: Arc<AtomicBool>,
    task: Task<Result<State, MemberError>>,
}

impl Member {
    /// Takes part until the run or this process's part in it is over.
    ///
    /// # Errors
    /// The store, where it is lost to this process.
    pub async fn take_part(
        &self,
        store: Store,
        orders: &mut Orders,
        mut stop: watch::Receiver<bool>,
    ) -> Result<MemberEnd, MemberError> {
        let pause = Duration::from_secs_f64((self.silence_s / SIGNS).clamp(0.05, LONGEST_PAUSE_S));
        let store = Arc::new(Mutex::new(store));
        let mut state = State::Waiting;
        let mut uploads = 0;
        'waiting: loop {
            self.link.say(&self.run, &state).await;
            let order = tokio::select! {
                order = orders.next() => order,
                () = tokio::time::sleep(pause) => continue,
                () = stopped(&mut stop) => return Ok(MemberEnd::Stopped),
            };
            let mut work = match order {
                None => return Ok(MemberEnd::Lost),
                Some(OrderTo::Work(work)) => work,
                Some(OrderTo::Forget(_)) => continue,
                Some(other) => match self.ended(other, uploads) {
                    Some(end) => return Ok(end),
                    None => continue,
                },
            };
            loop {
                let Job { id, clock, cancel, task } = self.begin(work, store.clone());
                let mut ended = std::pin::pin!(task.ended());
                let mut next = None;
                let result = loop {
                    self.link.say(&self.run, &State::Working(id.clone(), clock.spent().as_secs_f64())).await;
                    tokio::select! {
                        ended = &mut ended => break ended?,
                        () = tokio::time::sleep(pause) => {}
                        () = stopped(&mut stop) => return Ok(MemberEnd::Stopped),
                        order = orders.next() => match order {
                            None => return Ok(MemberEnd::Lost),
                            Some(OrderTo::Work(work)) if work.id() == id => {}
                            Some(OrderTo::Work(work)) => {
                                cancel.store(true, Ordering::Relaxed);
                                next = Some(work);
                            }
                            Some(OrderTo::Forget(forgotten)) if forgotten == id => {
                                cancel.store(true, Ordering::Relaxed);
                            }
                            Some(OrderTo::Forget(_)) => {}
                            Some(other) => if let Some(end) = self.ended(other, uploads) {
                                cancel.store(true, Ordering::Relaxed);
                                return Ok(end);
                            },
                        },
                    }
                };
                state = match result {
                    Ok(state) => {
                        uploads += 1;
                        state
                    }
                    Err(_) if cancel.load(Ordering::Relaxed) => State::Waiting,
                    Err(error) => {
                        (self.say)(format!("an assignment failed: {error}"));
                        State::Failed(id, error.to_string())
                    }
                };
                match next {
                    Some(newer) => work = newer,
                    None => continue 'waiting,
                }
            }
        }
    }

    fn ended(&self, order: OrderTo, uploads: u32) -> Option<MemberEnd> {
        match order {
            OrderTo::End(None) => Some(MemberEnd::Over(uploads)),
            OrderTo::End(Some(reason)) => Some(MemberEnd::Unwanted(reason)),
            OrderTo::Agree(run, number, manifest) if run != self.run => {
                Some(MemberEnd::OtherRun(run, number, manifest))
            }
            _ => None,
        }
    }

    fn begin(&self, work: Work, store: Shared) -> Job {
        let (id, clock, cancel) = (work.id().to_vec(), Arc::<OwnTime>::default(), Arc::<AtomicBool>::default());
        let (participants, link, say) = (self.participants.clone(), self.link.clone(), self.say.clone());
        let (on_clock, on_cancel) = (clock.clone(), cancel.clone());
        let task = Task::start("an assignment", async move {
            let done = work_on(&work, &store, &participants, &link, (on_clock, on_cancel)).await;
            if done.is_ok() {
                say(format!("round {}: the update is at the broker", work.round()));
            }
            done
        });
        Job { id, clock, cancel, task }
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        // A dropped sender never stops a client.
        std::future::pending::<()>().await;
    }
}

/// Settles, downloads, trains, stages and uploads.
async fn work_on(
    work: &Work,
    store: &Shared,
    participants: &Participants,
    link: &Membership,
    (clock, cancel): (Arc<OwnTime>, Arc<AtomicBool>),
) -> Result<State, MemberError> {
    let done = locked(store).staged().filter(|staged| staged.id == work.id()).cloned();
    if let Some(staged) = done {
        let uploaded = link.upload(staged.frame).await?;
        return Ok(State::Done(staged.id, uploaded, staged.steps, staged.seconds));
    }
    settle(work, store, participants).await?;
    let (frame, catch_up) = link.fetch(work).await?;
    let (round, tier, client) = (work.round(), work.tier(), work.client());
    let plans = participants.compressors.plans();
    let mut reference = None;
    if plans.download.tracked() {
        let known = locked(store).settled().references.get(&tier).cloned();
        let known = known.map_or_else(
            || Reference::new(plans.download.start().clone()),
            |known| Reference::restored(known.sequence, known.values),
        );
        let broadcast = Occasion::broadcast(round, tier);
        let next = participants.compressors.follow(broadcast, known, catch_up.clone(), frame.clone()).await??;
        reference = Some(StoredReference { sequence: next.sequence(), values: next.values().clone() });
    }
    let (kept, values) = (locked(store).settled().state.clone(), plans.upload.values());
    let state = blocking("reading the client's state", move || ClientState::from_bytes(&kept, values)).await??;
    let last_seen = work.last_seen();
    let assignment = Assignment { round, tier, last_seen, catch_up, frame, cancel, clock };
    let ClientUpdate { frame, state, steps, seconds } = exchange(client, assignment, state, participants).await?;
    let (id, upload) = (work.id().to_vec(), frame.header().upload);
    let bytes = frame.to_bytes();
    let staged = Staged {
        id: id.clone(),
        round,
        client,
        tier,
        last_seen,
        upload,
        steps,
        seconds,
        state,
        frame: bytes.clone(),
        reference,
    };
    // Durable first: what was accepted is never lost to the client.
    let staging = store.clone();
    blocking("staging an upload", move || locked(&staging).stage(staged)).await??;
    let uploaded = link.upload(bytes).await?;
    Ok(State::Done(id, uploaded, steps, seconds))
}

/// Makes what was staged what counts, if the assignment says that its update was accepted, and tells the policy either way.
async fn settle(work: &Work, store: &Shared, participants: &Participants) -> Result<(), MemberError> {
    let accepted_round = work.last_seen().unwrap_or(0);
    let (staged, settled) = {
        let store = locked(store);
        (store.staged().cloned(), store.settled().clone())
    };
    let Some(staged) = staged else {
        let found = settled.round;
        if found != accepted_round {
            return Err(MemberError::Behind { expected: accepted_round, found });
        }
        return Ok(());
    };
    let accepted = staged.round == accepted_round;
    if !accepted && settled.round != accepted_round {
        return Err(MemberError::Behind { expected: accepted_round, found: settled.round });
    }
    let mut next = settled;
    if accepted {
        next.round = staged.round;
        next.state = staged.state.unwrap_or(next.state);
    }
    // A broadcast is in the reference whatever became of the upload.
    if let Some(reference) = staged.reference {
        next.references.insert(staged.tier, reference);
    }
    let upload = &participants.compressors.plans().upload;
    if upload.policy().acknowledges() {
        let mut state = ClientState::from_bytes(&next.state, upload.values())?;
        let of_client = Occasion::of_client(staged.round, staged.client, staged.tier, staged.last_seen);
        let (occasion, name) = (Occasion { upload: staged.upload, ..of_client }, &upload.policy().name);
        let memory = participants.compressors.acknowledge(occasion, accepted, state.memories.of(name)).await??;
        state.memories.keep(name, memory);
        next.state = state.to_bytes();
    }
    let settling = store.clone();
    Ok(blocking("settling a round", move || locked(&settling).settle(next)).await??)
}

fn locked(store: &Shared) -> MutexGuard<'_, Store> {
    // Every change of it is whole in its files first.
    store.lock().unwrap_or_else(PoisonError::into_inner)
}
