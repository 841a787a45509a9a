//! A client of a deployed federation: agreement with the server's manifest, then rounds, until the run is over.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use serde::Serialize;
use tokio::sync::{mpsc, watch};

use super::manifest::Manifest;
use super::plan::Parts;
use super::{FederationError, Inputs};
use crate::client::{Member, MemberEnd, Participants, Store};
use crate::compressor::Compressors;
use crate::config::{Config, Layers, Loaded};
use crate::link::{LinkError, Membership, OrderTo, Orders, State};
use crate::metrics::Metrics;
use crate::pool::{Task, blocking};
use crate::roster::Credentials;
use crate::trainer::{LearningRates, Trainers};

/// The time between two signs of life before a client takes part.
const PAUSE: Duration = Duration::from_millis(500);
/// Seconds of a try to connect.
const TRY_S: f64 = 1.0;

/// The start of a client.
pub struct Join {
    /// Its config's layers; what they leave open is the server's to say.
    pub layers: Layers,
    /// The same, read.
    pub loaded: Loaded,
    /// Its credentials, and their file.
    pub credentials: (PathBuf, Credentials),
    /// Its directory: its state between rounds, its effective config.
    pub dir: PathBuf,
    /// The receiver of what is to be said to people.
    pub say: Arc<dyn Fn(String) + Send + Sync>,
}

/// The end of a client's part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Joined {
    /// Its name.
    pub client: String,
    /// The run that it took part in last; empty where there was none.
    pub run: String,
    /// Updates that it laid down at the broker.
    pub uploads: u32,
    /// True where it was told to stop before the run was over.
    pub interrupted: bool,
}

/// Takes part in a federation until its run is over, or until `stop` turns true.
///
/// # Errors
/// A fault of the link, the config, data, model or policies; everything that differs from the server's manifest.
pub async fn join(mut start: Join, mut stop: watch::Receiver<bool>) -> Result<Joined, FederationError> {
    let client = start.credentials.1.name.clone();
    let (link, mut orders) = tokio::select! {
        connected = connect(&mut start) => connected?,
        _ = stop.wait_for(|stop| *stop) => {
            return Ok(Joined { client, run: String::new(), uploads: 0, interrupted: true });
        }
    };
    (start.say)(format!("{client} is connected to {}", address(&start)));
    let mut next = None;
    loop {
        let (run, number, manifest) = match next.take() {
            Some(agreed) => agreed,
            None => match agreement(&link, &mut orders, &mut stop).await? {
                Some(agreed) => agreed,
                None => return Ok(Joined { client, run: String::new(), uploads: 0, interrupted: true }),
            },
        };
        let end = take_part(&start, &link, &mut orders, stop.clone(), (&run, number, &manifest)).await?;
        let joined = |uploads, interrupted| Joined { client: client.clone(), run: run.clone(), uploads, interrupted };
        match end {
            MemberEnd::Over(uploads) => return Ok(joined(uploads, false)),
            MemberEnd::Stopped => return Ok(joined(0, true)),
            MemberEnd::Unwanted(reason) => return Err(FederationError::Refused(reason)),
            MemberEnd::OtherRun(run, number, manifest) => next = Some((run, number, manifest)),
            MemberEnd::Lost => return Err(lost(&start)),
        }
    }
}

/// Connects, and tries for `link.stall_s` where nobody listens. Credentials that are written again meanwhile, as a server does that
/// starts for the first time, are read again.
async fn connect(start: &mut Join) -> Result<(Membership, Orders), FederationError> {
    let (began, config) = (Instant::now(), start.loaded.config.link.clone());
    loop {
        let error = match Membership::join(&start.credentials.1, &config, TRY_S.min(config.stall_s)).await {
            Ok(connected) => return Ok(connected),
            Err(error) => error,
        };
        let path = start.credentials.0.clone();
        let again = blocking("reading the credentials", move || Credentials::read(&path)).await??;
        let changed = again.address != start.credentials.1.address;
        start.credentials.1 = again;
        let nobody = matches!(error, LinkError::Connect { nobody: true, .. });
        if !changed && (!nobody || began.elapsed().as_secs_f64() > config.stall_s) {
            return Err(error.into());
        }
    }
}

fn address(start: &Join) -> String {
    start.loaded.config.link.url.clone().unwrap_or_else(|| start.credentials.1.address.clone())
}

fn lost(start: &Join) -> FederationError {
    LinkError::Connect { address: address(start), reason: "the connection was given up".into(), nobody: false }.into()
}

/// Waits for a server's manifest; none where it was told to stop.
async fn agreement(
    link: &Membership,
    orders: &mut Orders,
    stop: &mut watch::Receiver<bool>,
) -> Result<Option<(String, u32, String)>, FederationError> {
    loop {
        link.say("", &State::Waiting).await;
        tokio::select! {
            order = orders.next() => match order {
                Some(OrderTo::Agree(run, number, manifest)) => return Ok(Some((run, number, manifest))),
                Some(OrderTo::End(Some(reason))) => return Err(FederationError::Refused(reason)),
                // The end of a run that it had no part in, or an order to another process.
                Some(_) => {}
                None => return Err(FederationError::Refused("the connection was given up".into())),
            },
            () = tokio::time::sleep(PAUSE) => {}
            _ = stop.wait_for(|stop| *stop) => return Ok(None),
        }
    }
}

/// Loads what the manifest asks for, compares, and takes part.
async fn take_part(
    start: &Join,
    link: &Membership,
    orders: &mut Orders,
    stop: watch::Receiver<bool>,
    (run, number, manifest): (&str, u32, &str),
) -> Result<MemberEnd, FederationError> {
    // Loading a model takes its time, in which the client is there all the same.
    let signs = {
        let link = link.clone();
        Task::start("the signs of life", async move {
            loop {
                link.say("", &State::Waiting).await;
                tokio::time::sleep(PAUSE).await;
            }
        })
    };
    let (layers, loaded, client) = (start.layers.clone(), start.loaded.clone(), start.credentials.1.name.clone());
    let (text, dir) = (manifest.to_owned(), start.dir.clone());
    let ready = blocking("loading", move || prepare(&layers, &loaded, (&client, number), &text, &dir)).await;
    drop(signs);
    let Ready { config, parts, rounds, warnings } = match ready.map_err(FederationError::from).and_then(|ready| ready) {
        Ok(ready) => ready,
        Err(error) => {
            // The server hears it too, and goes on without this client.
            for _ in 0..3 {
                link.say("", &State::Refused(error.to_string())).await;
                link.flush().await;
            }
            return Err(error);
        }
    };
    warnings.into_iter().for_each(|warning| (start.say)(warning));
    (start.say)(format!(
        "it takes part as client {number} of {}, with {} records, in a run of {rounds} rounds",
        parts.shards.clients(),
        parts.shards.examples(number)
    ));
    let (id, dir) = (run.split('-').next().unwrap_or(run).to_owned(), start.dir.join("state"));
    let store = blocking("opening the client's store", move || Store::open(&dir, &id)).await?;
    let store = store.map_err(crate::client::MemberError::from)?;
    let (failed, mut failure) = mpsc::unbounded_channel();
    let spawned = Actor::spawn(None, Site, failed).await;
    let (site, _) = spawned.map_err(|source| FederationError::Spawn { actor: "site", source: Arc::new(source) })?;
    let participants = participants(&config, &parts, &site, &start.dir).await?;
    let silence_s = config.link.silence_s;
    let member = Member { participants, link: link.clone(), run: run.into(), silence_s, say: start.say.clone() };
    let ended = tokio::select! {
        ended = member.take_part(store, orders, stop) => ended.map_err(FederationError::from),
        reason = failure.recv() => Err(FederationError::Refused(reason.unwrap_or_default())),
    };
    site.stop(None);
    ended
}

/// A client that has loaded what a run asks for.
struct Ready {
    config: Config,
    parts: Parts,
    rounds: u32,
    warnings: Vec<String>,
}

/// Lays the config over the server's values, loads, and compares. Blocking.
fn prepare(
    layers: &Layers,
    own: &Loaded,
    (client, number): (&str, u32),
    manifest: &str,
    dir: &std::path::Path,
) -> Result<Ready, FederationError> {
    let server: Manifest = serde_json::from_str(manifest)
        .map_err(|error| FederationError::Refused(format!("the server's manifest cannot be read: {error}")))?;
    let said = |differences: Vec<String>| match differences.is_empty() {
        true => Ok(()),
        false => Err(FederationError::Refused(differences.join("; "))),
    };
    let set = own.differences(&server.settings).into_iter();
    said(set.map(|(key, here, there)| format!("{key} is {here} here and {there} at the server")).collect())?;
    let loaded = layers.load_with_servers(own, &server.settings, &server.suggested)?;
    let path = dir.join("config.toml");
    std::fs::write(&path, loaded.to_toml()).map_err(|source| FederationError::RunDir { path, source })?;
    let config = loaded.config;
    let clients = server.clients.max(1) as usize;
    if number as usize >= clients || clients > 10_000_000 {
        return Err(FederationError::Refused(format!(
            "its number is {number}, the server speaks of {clients} clients"
        )));
    }
    let mut names = vec![String::new(); clients];
    names[number as usize] = client.into();
    let parts = Parts::of(&config, Inputs::default().roster(&config, &names, Some(number))?)?;
    let here = Manifest::of(&config, &parts.shards, &parts.initial, &parts.serving.policies());
    said(here.differences(&server))?;
    let warnings = parts.shards.notes().to_vec();
    Ok(Ready { rounds: config.run.rounds, config, parts, warnings })
}

async fn participants(
    config: &Config,
    parts: &Parts,
    site: &ActorRef<()>,
    dir: &std::path::Path,
) -> Result<Participants, FederationError> {
    let metrics = Arc::new(Metrics::new());
    let place = |actor: &str| (format!("{}/{actor}", dir.display()), site.get_cell());
    let spawned = |actor| move |source| FederationError::Spawn { actor, source: Arc::new(source) };
    let codecs = parts.serving.policies().codecs;
    let compressors = Compressors::spawn(codecs, 1, metrics.clone(), place("compressors"), Arc::new(|| {})).await;
    let compressors = compressors.map_err(spawned("compressor pool"))?;
    let local = (config.client.clone(), LearningRates::new(&config.client, config.run.rounds));
    let size = (1, metrics.clone());
    let trainers = Trainers::spawn(parts.shards.clone(), local, size, place("trainers"), Arc::new(|| {})).await;
    let trainers = trainers.map_err(spawned("trainer pool"))?;
    let layout = parts.shards.trainer().layout();
    let of_tier = |tier| parts.tiers.trainable(tier, layout).map(Arc::new);
    Ok(Participants {
        compressors,
        trainers,
        shards: parts.shards.clone(),
        trainable: Arc::new((0..config.client.tiers.len() as u32).map(of_tier).collect()),
        metrics,
        privacy: config.privacy.clone(),
        seed: config.run.seed,
        repeatable_noise: false,
    })
}

/// The supervisor of a client's pools. They replace their own workers; one that ends all the same ends the client's part.
struct Site;

impl Actor for Site {
    type Msg = ();
    type State = mpsc::UnboundedSender<String>;
    type Arguments = mpsc::UnboundedSender<String>;

    async fn pre_start(&self, _: ActorRef<()>, told: Self::State) -> Result<Self::State, ActorProcessingErr> {
        Ok(told)
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<()>,
        event: SupervisionEvent,
        told: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(_, reason) => drop(told.send(format!("a pool of workers ended: {reason}"))),
            SupervisionEvent::ActorTerminated(_, _, Some(reason)) => {
                drop(told.send(format!("a pool of workers ended: {reason}")));
            }
            _ => {}
        }
        Ok(())
    }
}
