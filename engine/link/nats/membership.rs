//! A membership: the federation as a client over NATS sees it. Orders, and chunks out of the stream, in; signs of life and updates out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::Subscriber;
use futures_util::StreamExt;
use prost::Message;

use super::chunks::{Chunks, Traffic, Transfer};
use super::control::{self, Ask, Done, End, Failed, Order, Phase, Status, What, Working};
use super::session::{Access, connect, session_number};
use super::subjects::Subjects;
use crate::link::{Config, LinkError};
use crate::roster::Credentials;
use crate::wire::Frame;

/// The time between two looks at a connection from which nothing comes.
const LOOK: Duration = Duration::from_secs(1);

/// An order as it concerns this process.
#[derive(Debug)]
pub enum OrderTo {
    /// The run, the client's number in it, and what it asks to agree with, as JSON.
    Agree(String, u32, String),
    /// Work.
    Work(Work),
    /// The assignment with this id is not wanted any more.
    Forget(Vec<u8>),
    /// The run is over; with a reason, this process is not wanted.
    End(Option<String>),
}

/// An assignment whose frames still lie at the broker.
#[derive(Debug, Clone, PartialEq)]
pub struct Work(Ask);

impl Work {
    /// The same for the same work.
    pub fn id(&self) -> &[u8] {
        &self.0.id
    }

    /// The round.
    pub fn round(&self) -> u32 {
        self.0.round
    }

    /// The client's number.
    pub fn client(&self) -> u32 {
        self.0.client
    }

    /// The client's tier.
    pub fn tier(&self) -> u32 {
        self.0.tier
    }

    /// The last round whose update of this client was accepted.
    pub fn last_seen(&self) -> Option<u32> {
        self.0.last_seen
    }
}

/// A client's account of itself.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// It waits.
    Waiting,
    /// It works on an assignment, with the seconds of its own work.
    Working(Vec<u8>, f64),
    /// Its update for an assignment lies at the broker: bytes of the upload, steps, seconds.
    Done(Vec<u8>, Uploaded, u32, f64),
    /// It could not do an assignment.
    Failed(Vec<u8>, String),
    /// It does not take part.
    Refused(String),
}

/// An upload that lies at the broker.
#[derive(Debug, Clone, PartialEq)]
pub struct Uploaded(Transfer);

/// The connection of one client; clones share it.
#[derive(Clone)]
pub struct Membership {
    chunks: Chunks,
    traffic: Arc<Traffic>,
    name: String,
    session: u64,
    /// Bytes of a frame from the server, at most.
    longest: u64,
}

impl Membership {
    /// Connects with credentials, to `config.url` where that is set, tries for `patience_s` seconds, and listens to orders.
    ///
    /// # Errors
    /// [`LinkError::Connect`] with the piece that fails.
    pub async fn join(
        credentials: &Credentials,
        config: &Config,
        patience_s: f64,
    ) -> Result<(Self, Orders), LinkError> {
        let Credentials { federation, name, address, seed, certificate } = credentials.clone();
        let address = config.url.clone().unwrap_or(address);
        let inbox = Some(Subjects::inbox(&name));
        let refused = Arc::<AtomicBool>::default();
        let (on, to) = (refused.clone(), address.clone());
        let access = Access { address: address.clone(), seed, certificate, name: name.clone(), inbox, refused };
        let nats = connect(&access, patience_s).await?;
        let subjects = Subjects::new(&federation);
        let orders = nats.subscribe(subjects.orders(&name)).await.map_err(|error| LinkError::Broker {
            address,
            what: "subscribe",
            reason: error.to_string(),
        })?;
        let chunks = Chunks { nats, subjects, stall_s: config.stall_s };
        let session = session_number().map_err(|error| LinkError::Process(error.to_string()))?;
        let traffic = Arc::default();
        let member = Self { chunks, traffic, name, session, longest: u64::from(u32::MAX) };
        Ok((member, Orders { session, from: orders, refused: on, address: to }))
    }

    /// Gives a sign of life. `run` is the one whose manifest it agrees with.
    pub async fn say(&self, run: &str, state: &State) {
        let phase = match state.clone() {
            State::Waiting => None,
            State::Working(id, seconds) => Some(Phase::Working(Working { id, seconds })),
            State::Done(id, Uploaded(upload), steps, seconds) => {
                Some(Phase::Done(Done { id, upload: Some(upload), steps, seconds }))
            }
            State::Failed(id, reason) => Some(Phase::Failed(Failed { id, reason: control::cut(&reason) })),
            State::Refused(reason) => Some(Phase::Refused(control::cut(&reason))),
        };
        let progress = self.traffic.progress.load(Ordering::Relaxed);
        let status = Status { session: self.session, run: run.into(), progress, phase };
        // The next one comes soon; a connection that is gone comes back by itself.
        let subject = self.chunks.subjects.status(&self.name);
        drop(self.chunks.nats.publish(subject, status.encode_to_vec().into()).await);
    }

    /// The broadcast of an assignment, and the frames that bring the client up to date.
    ///
    /// # Errors
    /// [`LinkError`] where they do not come or are not what was announced.
    pub async fn fetch(&self, work: &Work) -> Result<(Frame, Vec<Frame>), LinkError> {
        let subjects = &self.chunks.subjects;
        let broadcast = work.0.broadcast.clone().unwrap_or_default();
        let frame = self.get(subjects.common(&broadcast.id()), &broadcast).await?;
        let mut catch_up = Vec::with_capacity(work.0.catch_up.len());
        for transfer in &work.0.catch_up {
            catch_up.push(self.get(subjects.own(&self.name, &transfer.id()), transfer).await?);
        }
        Ok((frame, catch_up))
    }

    async fn get(&self, prefix: String, transfer: &Transfer) -> Result<Frame, LinkError> {
        transfer.check("the server", self.longest)?;
        Ok(Frame::read(self.chunks.get(&prefix, transfer, &self.traffic).await?)?)
    }

    /// Lays an upload down at the broker.
    ///
    /// # Errors
    /// [`LinkError::Stalled`].
    pub async fn upload(&self, bytes: Vec<u8>) -> Result<Uploaded, LinkError> {
        let transfer = Transfer::of(&bytes);
        let prefix = self.chunks.subjects.upload(&self.name, &transfer.id());
        self.chunks.put(&prefix, bytes, &self.traffic).await?;
        Ok(Uploaded(transfer))
    }

    /// Sends what still waits to be sent, for at most a moment.
    pub async fn flush(&self) {
        drop(tokio::time::timeout(Duration::from_secs(1), self.chunks.nats.flush()).await);
    }
}

/// The orders to one client.
pub struct Orders {
    session: u64,
    from: Subscriber,
    refused: Arc<AtomicBool>,
    address: String,
}

impl Orders {
    /// The next order to this process; none when the connection is given up.
    pub async fn next(&mut self) -> Option<OrderTo> {
        loop {
            // A connection that comes back no more is not seen by those who wait for a message.
            if self.refused.load(Ordering::Relaxed) {
                let address = &self.address;
                let reason = format!("the broker at {address} no longer takes its key: it was revoked");
                return Some(OrderTo::End(Some(reason)));
            }
            let message = tokio::select! {
                message = self.from.next() => message?,
                () = tokio::time::sleep(LOOK) => continue,
            };
            let Order { run, session, client, what } = match control::read("the server", &message.payload) {
                Ok(order) => order,
                Err(error) => {
                    tracing::warn!("{error}");
                    continue;
                }
            };
            if session != 0 && session != self.session {
                continue;
            }
            return Some(match what {
                None => continue,
                Some(What::Manifest(manifest)) => OrderTo::Agree(run, client, manifest),
                Some(What::Ask(ask)) => OrderTo::Work(Work(ask)),
                Some(What::Forget(id)) => OrderTo::Forget(id),
                Some(What::End(End { reason })) => {
                    OrderTo::End(Some(control::cut(&reason)).filter(|reason| !reason.is_empty()))
                }
            });
        }
    }
}
