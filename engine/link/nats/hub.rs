//! The hub: the clients as a server over NATS sees them. Assignments in; orders, and chunks in the stream, out; signs of life and
//! updates in; answers out.
//!
//! An order is given until the client's sign of life shows that it is known, so a lost message costs a moment, and a server that
//! was started again finds finished work where it lies.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use async_nats::jetstream::stream::{Config as StreamConfig, DiscardPolicy, StorageType};
use futures_util::StreamExt;
use prost::Message;
use ractor::ActorCell;
use serde::{Deserialize, Serialize};
use tokio::sync::{OnceCell, oneshot, watch};

use super::chunks::{Chunks, Traffic, Transfer};
use super::control::{self, Ask, Done, End, Failed, Order, Phase, Status, What, Working};
use super::session::{Access, connect};
use super::subjects::Subjects;
use crate::link::{Answer, Assignment, ClientUpdate, Clients, Config, Future, LinkError, Outcome};
use crate::pool::{blocking, watched};
use crate::roster::{Enrolment, EnrolmentError, Member};
use crate::wire::Frame;

/// The time between two looks at a client that says nothing.
const LOOK: Duration = Duration::from_millis(200);
/// The time after which an order that shows no effect is given again.
const AGAIN: Duration = Duration::from_millis(500);

/// The server's knowledge of one client.
#[derive(Debug, Clone, Default)]
struct Seen {
    /// Its last sign of life.
    at: Option<Instant>,
    status: Status,
    /// The process whose place another one has taken.
    replaced: u64,
}

/// The state of one enrolled client, for people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemberStatus {
    /// Its name.
    pub name: String,
    /// True where it takes part and was heard of just now.
    pub ready: bool,
    /// A word for what it does: away, waiting, working, done, failed, refused or revoked.
    pub state: String,
    /// Seconds since it was heard of; none where it never was.
    pub silent_s: Option<f64>,
    /// The reason of a refusal or a failure.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
}

/// The parts of a hub.
pub struct HubArgs {
    /// The federation's id.
    pub federation: String,
    /// Host and port of the broker.
    pub address: String,
    /// Seed of the server's key.
    pub seed: String,
    /// The federation's certificate, PEM.
    pub certificate: String,
    /// Section `link`.
    pub config: Config,
    /// The clients by number.
    pub members: Vec<Member>,
    /// The run's id.
    pub run: String,
    /// Everything that a client must agree with, as JSON.
    pub manifest: String,
    /// Bytes of an upload, at most.
    pub longest_upload: u64,
    /// True where the stream may hold chunks of this very run.
    pub resume: bool,
    /// The receiver of what is to be said to people.
    pub say: Arc<dyn Fn(String) + Send + Sync>,
}

impl HubArgs {
    /// The access to a federation's broker at `address` for its server.
    ///
    /// # Errors
    /// Files of the enrolment that cannot be read.
    pub fn keys(enrolment: &Enrolment) -> Result<(String, String), EnrolmentError> {
        let certificate = enrolment.certificate_file();
        let certificate = std::fs::read_to_string(&certificate)
            .map_err(|source| EnrolmentError::File { path: certificate, source })?;
        Ok((enrolment.server_key()?.0, certificate))
    }
}

/// The clients of a deployed federation; clones share it.
#[derive(Clone)]
pub struct Hub(Arc<Parts>);

/// A frame in the stream, with the client that it is for; none where all may read it.
type Published = (Frame, Option<u32>, Arc<OnceCell<Transfer>>);

struct Parts {
    args: HubArgs,
    chunks: Chunks,
    traffic: Traffic,
    numbers: HashMap<String, u32>,
    seen: Vec<watch::Sender<Seen>>,
    /// The transfers in the stream for the round under way.
    published: Mutex<Vec<Published>>,
    /// Dropped with the rest: the listener ends.
    _alive: oneshot::Sender<()>,
}

impl Hub {
    /// Connects to the broker, makes the stream and listens to the clients.
    ///
    /// # Errors
    /// [`LinkError`] where the broker cannot be reached or refuses.
    pub async fn start(args: HubArgs) -> Result<Self, LinkError> {
        let access = Access {
            address: args.address.clone(),
            seed: args.seed.clone(),
            certificate: args.certificate.clone(),
            name: "server".into(),
            inbox: None,
            refused: Arc::default(),
        };
        let nats = connect(&access, args.config.stall_s).await?;
        let subjects = Subjects::new(&args.federation);
        let broker = |what| {
            let address = args.address.clone();
            move |reason: String| LinkError::Broker { address, what, reason }
        };
        let stream = StreamConfig {
            name: subjects.stream().into(),
            subjects: subjects.kept(),
            max_messages_per_subject: 1,
            discard: DiscardPolicy::New,
            discard_new_per_subject: true,
            storage: StorageType::File,
            allow_direct: true,
            num_replicas: 1,
            ..StreamConfig::default()
        };
        let made = async_nats::jetstream::new(nats.clone()).get_or_create_stream(stream).await;
        let stream = made.map_err(|error| broker("make the stream")(error.to_string()))?;
        if !args.resume {
            stream.purge().await.map_err(|error| broker("empty the stream")(error.to_string()))?;
        }
        let statuses = nats.subscribe(subjects.statuses()).await;
        let statuses = statuses.map_err(|error| broker("subscribe")(error.to_string()))?;
        let numbers = args.members.iter().map(|member| member.name.clone()).zip(0..).collect();
        let seen = args.members.iter().map(|_| watch::Sender::new(Seen::default())).collect();
        let stall_s = args.config.stall_s;
        let chunks = Chunks { nats, subjects, stall_s };
        let (traffic, published) = (Traffic::default(), Mutex::default());
        let (_alive, gone) = oneshot::channel();
        let say = args.say.clone();
        let hub = Self(Arc::new(Parts { args, chunks, traffic, numbers, seen, published, _alive }));
        watched("the link's listener", listen(Arc::downgrade(&hub.0), statuses, gone), move |crash| {
            say(crash.to_string())
        });
        Ok(hub)
    }

    /// Waits until `count` clients agree with the manifest. `waiting` hears how many there are whenever that changes.
    pub async fn wait_for(&self, count: usize, waiting: impl Fn(usize)) {
        let mut told = None;
        loop {
            let ready = self.0.seen.iter().filter(|seen| self.0.is_ready(&seen.borrow())).count();
            if told != Some(ready) {
                waiting(ready);
                told = Some(ready);
            }
            if ready >= count {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// A seed that the server alone knows, the same for the whole run.
    pub fn secret_seed(&self) -> u64 {
        let run = self.0.args.run.split('-').next().unwrap_or_default();
        let hash = blake3::hash(format!("{} {run}", self.0.args.seed).as_bytes());
        hash.as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }

    /// The state of every enrolled client.
    pub fn members(&self) -> Vec<MemberStatus> {
        self.0
            .args
            .members
            .iter()
            .zip(&self.0.seen)
            .map(|(member, seen)| self.0.describe(member, &seen.borrow()))
            .collect()
    }

    /// Sends every client home: the run is over.
    pub async fn end(&self) {
        // A client that missed it asks again with its next sign of life, and this process may be gone by then: a few times.
        for _ in 0..3 {
            for number in 0..self.0.seen.len() as u32 {
                self.0.give(number, 0, What::End(End { reason: String::new() })).await;
            }
            drop(self.0.chunks.nats.flush().await);
            tokio::time::sleep(LOOK / 2).await;
        }
    }
}

/// Listens to the clients for as long as there is a hub.
async fn listen(hub: Weak<Parts>, mut statuses: async_nats::Subscriber, mut gone: oneshot::Receiver<()>) {
    loop {
        let message = tokio::select! {
            message = statuses.next() => message,
            _ = &mut gone => return,
        };
        let Some(message) = message else { return };
        let Some(parts) = hub.upgrade() else { return };
        let name = message.subject.rsplit('.').next().unwrap_or_default();
        // The broker lets nobody speak under another's name, and only enrolled ones at all.
        let Some(number) = parts.numbers.get(name).copied() else { continue };
        let bytes = (message.subject.len() + message.payload.len()) as u64;
        parts.traffic.received.fetch_add(bytes, Ordering::Relaxed);
        match control::read::<Status>(name, &message.payload) {
            Ok(status) => parts.heard(number, name, status).await,
            Err(error) => tracing::warn!("{error}"),
        }
    }
}

impl Parts {
    /// Takes in a sign of life.
    async fn heard(&self, number: u32, name: &str, status: Status) {
        let Some(seen) = self.seen.get(number as usize) else { return };
        let (before, mut replaced, was_ready) = {
            let known = seen.borrow();
            (known.status.session, known.replaced, self.is_ready(&known))
        };
        if before != 0 && before != status.session {
            // The newer process is the one that somebody just started. The older may still say something.
            let is_older = status.session == replaced;
            if !is_older {
                replaced = before;
            }
            let reason = "another process takes part with the same credentials";
            self.give(number, replaced, What::End(End { reason: reason.into() })).await;
            if is_older {
                return;
            }
        }
        let refused = matches!(status.phase, Some(Phase::Refused(_)));
        if status.run != self.args.run && !refused {
            self.give(number, status.session, What::Manifest(self.args.manifest.clone())).await;
        }
        let session = status.session;
        let refusal = match &status.phase {
            Some(Phase::Refused(reason)) => Some(control::cut(reason)),
            _ => None,
        };
        let already = matches!(&seen.borrow().status.phase, Some(Phase::Refused(_)));
        seen.send_replace(Seen { at: Some(Instant::now()), status, replaced });
        match refusal {
            Some(reason) if !already => (self.args.say)(format!("{name} does not take part: {reason}")),
            None if !was_ready && self.is_ready(&seen.borrow()) => {
                let back = if before != 0 && before != session { "is back" } else { "is there" };
                (self.args.say)(format!("{name} {back}"));
            }
            _ => {}
        }
    }

    fn describe(&self, member: &Member, seen: &Seen) -> MemberStatus {
        let silent_s = seen.at.map(|at| at.elapsed().as_secs_f64());
        let (state, reason) = match &seen.status.phase {
            _ if member.revoked => ("revoked", None),
            _ if silent_s.is_none_or(|silent| silent > self.args.config.silence_s) => ("away", None),
            None => ("waiting", None),
            Some(Phase::Working(_)) => ("working", None),
            Some(Phase::Done(_)) => ("done", None),
            Some(Phase::Failed(failed)) => ("failed", Some(control::cut(&failed.reason))),
            Some(Phase::Refused(reason)) => ("refused", Some(control::cut(reason))),
        };
        let ready = !member.revoked && self.is_ready(seen);
        MemberStatus { name: member.name.clone(), ready, state: state.into(), silent_s, reason }
    }

    fn name(&self, number: u32) -> &str {
        self.args.members.get(number as usize).map_or("", |member| &member.name)
    }

    fn is_ready(&self, seen: &Seen) -> bool {
        let refused = matches!(seen.status.phase, Some(Phase::Refused(_)));
        let silence = seen.at.map(|at| at.elapsed().as_secs_f64());
        seen.status.run == self.args.run
            && !refused
            && silence.is_some_and(|silence| silence <= self.args.config.silence_s)
    }

    async fn give(&self, number: u32, session: u64, what: What) {
        let order = Order { run: self.args.run.clone(), session, client: number, what: Some(what) }.encode_to_vec();
        let subject = self.chunks.subjects.orders(self.name(number));
        self.traffic.sent.fetch_add((subject.len() + order.len()) as u64, Ordering::Relaxed);
        // An order that does not get across is given again.
        drop(self.chunks.nats.publish(subject, order.into()).await);
    }

    /// Puts a frame into the stream, for one client or for all, where it is not there yet.
    async fn publish(&self, frame: &Frame, of: Option<u32>) -> Result<Transfer, LinkError> {
        let cell = {
            let mut published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
            let known = published.iter().find(|(known, its, _)| *its == of && known.is(frame));
            known.map(|(.., cell)| cell.clone()).unwrap_or_else(|| {
                let cell = Arc::<OnceCell<Transfer>>::default();
                published.push((frame.clone(), of, cell.clone()));
                cell
            })
        };
        let put = async || {
            let frame = frame.clone();
            let announced = blocking("a frame's hashes", move || {
                let bytes = frame.to_bytes();
                (Transfer::of(&bytes), bytes)
            });
            let (transfer, bytes) = announced.await.map_err(|crash| LinkError::Process(crash.to_string()))?;
            let prefix = match of {
                None => self.chunks.subjects.common(&transfer.id()),
                Some(client) => self.chunks.subjects.own(self.name(client), &transfer.id()),
            };
            self.chunks.put(&prefix, bytes, &self.traffic).await?;
            Ok::<_, LinkError>(transfer)
        };
        cell.get_or_try_init(put).await.cloned()
    }

    async fn exchange(&self, client: u32, assignment: Assignment, deadline_s: f64) -> Result<Answer, LinkError> {
        let Some(seen) = self.seen.get(client as usize) else {
            return Ok(Answer::Failed(format!("client {client} is not in the roster")));
        };
        if self.args.members.get(client as usize).is_some_and(|member| member.revoked) {
            return Ok(Answer::Failed("its enrolment was revoked".into()));
        }
        let name = self.name(client);
        let broadcast = self.publish(&assignment.frame, None).await?;
        let mut catch_up = Vec::with_capacity(assignment.catch_up.len());
        for frame in &assignment.catch_up {
            catch_up.push(self.publish(frame, Some(client)).await?);
        }
        let Assignment { round, tier, last_seen, .. } = assignment;
        let mut ask = Ask { id: Vec::new(), round, client, tier, last_seen, broadcast: Some(broadcast), catch_up };
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.args.run.as_bytes()).update(&ask.encode_to_vec());
        ask.id = hasher.finalize().as_bytes()[..16].to_vec();
        let (mut seen, began) = (seen.subscribe(), Instant::now());
        let silence_s = self.args.config.silence_s;
        let (mut given, mut moved): (Option<Instant>, _) = (None, (0, Instant::now()));
        loop {
            if assignment.cancel.load(Ordering::Relaxed) {
                self.give(client, 0, What::Forget(ask.id.clone())).await;
                return Ok(Answer::Cancelled);
            }
            let now = seen.borrow_and_update().clone();
            let silent = now.at.map_or(began, |at| at.max(began)).elapsed().as_secs_f64();
            if silent > silence_s {
                return Ok(Answer::Failed(format!("no sign of life for {silence_s} s")));
            }
            let ready = self.is_ready(&now);
            match now.status.phase {
                Some(Phase::Refused(reason)) => return Ok(Answer::Failed(control::cut(&reason))),
                Some(Phase::Failed(Failed { id, reason })) if id == ask.id && given.is_some() => {
                    return Ok(Answer::Failed(control::cut(&reason)));
                }
                Some(Phase::Done(done)) if done.id == ask.id => return self.collect(client, name, done).await,
                Some(Phase::Working(Working { id, seconds })) if id == ask.id => {
                    if deadline_s > 0.0 && seconds > deadline_s {
                        self.give(client, 0, What::Forget(ask.id.clone())).await;
                        return Ok(Answer::Late(deadline_s));
                    }
                    // Work moves by its seconds, a transfer by its bytes.
                    let sign = now.status.progress.wrapping_add(seconds.to_bits());
                    if moved.0 != sign {
                        moved = (sign, Instant::now());
                    }
                    let stall_s = self.args.config.stall_s;
                    if moved.1.elapsed().as_secs_f64() > 2.0 * stall_s {
                        self.give(client, 0, What::Forget(ask.id.clone())).await;
                        return Ok(Answer::Failed(format!(
                            "it neither worked nor moved a byte for {} s",
                            2.0 * stall_s
                        )));
                    }
                }
                _ if ready && given.is_none_or(|given| given.elapsed() > AGAIN) => {
                    self.give(client, now.status.session, What::Ask(ask.clone())).await;
                    given = Some(Instant::now());
                }
                _ => {}
            }
            tokio::select! {
                _ = seen.changed() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// Reads an update that lies at the broker.
    async fn collect(&self, client: u32, name: &str, done: Done) -> Result<Answer, LinkError> {
        let Done { upload, steps, seconds, .. } = done;
        let upload = upload.unwrap_or_default();
        let read = async {
            upload.check(name, self.args.longest_upload)?;
            let bytes =
                self.chunks.get(&self.chunks.subjects.upload(name, &upload.id()), &upload, &self.traffic).await?;
            Ok::<_, LinkError>(Frame::read(bytes)?)
        };
        let frame = match read.await {
            Ok(frame) => frame,
            Err(error @ LinkError::Stalled(_)) => return Err(error),
            // What a client says of its own upload costs that client alone.
            Err(error) => return Ok(Answer::Failed(error.to_string())),
        };
        let (claimed, most) = (
            frame.header().upload.examples,
            self.args.members.get(client as usize).map_or(0, |member| member.max_examples),
        );
        if most > 0 && claimed > most {
            return Ok(Answer::Failed(format!("it claims {claimed} training records, its enrolment allows {most}")));
        }
        let seconds = if seconds.is_finite() { seconds.max(0.0) } else { 0.0 };
        Ok(Answer::Update(ClientUpdate { frame, state: None, steps, seconds }))
    }
}

impl Clients for Hub {
    fn ask(&self, client: u32, assignment: Assignment, _: ActorCell, deadline_s: f64) -> Future<Answer> {
        let hub = self.0.clone();
        Box::pin(async move {
            let answer = hub.exchange(client, assignment, deadline_s).await;
            answer.unwrap_or_else(|error| Answer::Failed(error.to_string()))
        })
    }

    fn keep_their_states(&self) -> bool {
        true
    }

    fn acknowledge(&self, _: Outcome) -> Future<Result<Option<Vec<u8>>, String>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn closed(&self, _: u32) -> Future<()> {
        let hub = self.0.clone();
        Box::pin(async move {
            hub.published.lock().unwrap_or_else(PoisonError::into_inner).clear();
            let context = async_nats::jetstream::new(hub.chunks.nats.clone());
            let stream = context.get_stream_no_info(hub.chunks.subjects.stream()).await;
            // What is left is overwritten by nothing and emptied at the next close.
            if let Ok(stream) = stream {
                drop(stream.purge().await);
            }
        })
    }

    fn control_bytes(&self) -> [u64; 2] {
        [&self.0.traffic.sent, &self.0.traffic.received].map(|bytes| bytes.swap(0, Ordering::Relaxed))
    }
}
