//! The server of a deployed federation: its broker, its hub, and the same core as a simulation's.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use super::cpu_seconds::Clock;
use super::manifest::Manifest;
use super::plan::Plan;
use super::presence;
use super::run_dir::RunDir;
use super::{FederationError, Inputs, Progress, Start, Summary, bind, supervise};
use crate::config::Config;
use crate::link::{Broker, Hub, HubArgs, LinkError, run_id};
use crate::pool::{Task, blocking};
use crate::roster::{Enrolment, check_address};
use crate::trainer::ClientData;

/// The time between two looks at the enrolment's folder.
const LOOK: Duration = Duration::from_secs(1);

/// Runs a federation with clients on other machines to its end, or until `stop` turns true. A second time in the same directory with
/// `resume` it goes on with the round that was open; clients need not be started again.
///
/// # Errors
/// As [`super::run`], and what is wrong with the link or the enrolment.
pub async fn serve(
    mut start: Start,
    progress: mpsc::UnboundedSender<Progress>,
    mut stopped: watch::Receiver<bool>,
) -> Result<Summary, FederationError> {
    let (began, clock) = (Instant::now(), Clock::start());
    let endpoint = bind(&start.config).await?;
    let dir = deployable(&start.config)?;
    let (enrolment, address) = blocking("reading the enrolment", {
        let (config, progress) = (start.config.clone(), progress.clone());
        move || addressed(&dir, &config, &progress)
    })
    .await??;
    let (cohort, enrolled) = (start.config.server.cohort, enrolment.members().len());
    if cohort > enrolled && cohort == Config::default().server.cohort {
        // Nobody chose the demo's number for this federation.
        start.config.server.cohort = enrolled;
        drop(progress.send(Progress::Note(format!("server.cohort is not set: all {enrolled} clients are asked"))));
    }
    let config = start.config.clone();
    let broker = match &config.link.url {
        Some(_) => None,
        None => Some(Broker::start(&enrolment, &address.listen, address.names).await?),
    };
    let dialled = enrolment.address().to_owned();
    // A broker must not outlive a server that fails, or it would be left to nobody.
    let served = async {
        let resume = start.resume;
        let names: Vec<String> = enrolment.members().iter().map(|member| member.name.clone()).collect();
        let load = move || Plan::load(start, |config| roster_data(config, &names), true);
        let (plan, files) = blocking("loading", load).await??;
        let plan = Arc::new(plan);
        let hub = open_hub(&plan, &files, &enrolment, (address.dial, resume), &progress).await?;
        let least = if config.link.min_clients == 0 { plan.config.server.sampled() } else { config.link.min_clients };
        let least = least.min(enrolment.members().iter().filter(|member| !member.revoked).count());
        let (wish, mut stop) = watch::channel(false);
        let presence = presence::keep(plan.clone(), hub.clone(), dialled, wish.clone());
        let _presence = Task::start("the server's presence", presence);
        let _wish = Task::start("the wish to stop", async move {
            // A dropped sender never stops a server.
            if stopped.wait_for(|stop| *stop).await.is_ok() {
                let _ = wish.send(true);
            }
        });
        let waiting = hub.wait_for(least, |ready| {
            drop(progress.send(Progress::Note(format!("{ready} of {least} clients are there"))));
        });
        tokio::select! {
            () = waiting => {}
            // The run's own end says that it was interrupted.
            _ = stop.wait_for(|stop| *stop) => {}
        }
        let ended = supervise(plan, files, endpoint, Some(hub.clone()), progress, stop, (began, clock)).await;
        if ended.as_ref().is_ok_and(|summary| !summary.interrupted) {
            hub.end().await;
        }
        ended
    };
    let keep_rights = async {
        loop {
            tokio::time::sleep(LOOK).await;
            if let Some(broker) = &broker {
                follow_enrolment(broker, enrolment.dir(), &address.listen).await;
            }
        }
    };
    let ended = tokio::select! {
        ended = served => ended,
        () = keep_rights => Err(FederationError::Root),
    };
    if let Some(broker) = broker {
        broker.stop().await;
    }
    ended
}

/// The enrolment's folder of a config that can be deployed.
fn deployable(config: &Config) -> Result<PathBuf, FederationError> {
    let wrong = |text: &str| Err(FederationError::Config(text.into()));
    if config.policy.watch {
        return wrong("policy.watch is true: a deployed federation's policies are those that its clients agreed on");
    }
    match &config.link.enrolment {
        Some(dir) => Ok(dir.clone()),
        None => wrong(
            "link.enrolment is not set: give the folder that `cellm enroll init` made, as --set link.enrolment=DIR",
        ),
    }
}

/// The addresses of a federation's broker.
struct Address {
    /// The address that it listens on.
    listen: String,
    /// The address that the server dials.
    dial: String,
    /// Names and numbers that its certificate is for.
    names: Vec<String>,
}

/// Opens the enrolment and settles which address is whose.
fn addressed(
    dir: &Path,
    config: &Config,
    progress: &mpsc::UnboundedSender<Progress>,
) -> Result<(Enrolment, Address), FederationError> {
    let mut enrolment = Enrolment::open(dir)?;
    if enrolment.members().iter().all(|member| member.revoked) {
        return Err(FederationError::Config(format!(
            "{0} has no client: enrol each with `cellm enroll add {0} NAME`",
            dir.display()
        )));
    }
    let told = enrolment.address().to_owned();
    if let Some(url) = &config.link.url {
        let names = Vec::new();
        let dialled = url.rsplit_once("://").map_or(url.as_str(), |(_, address)| address);
        readdress(&mut enrolment, &told, dialled, progress)?;
        return Ok((enrolment, Address { listen: String::new(), dial: url.clone(), names }));
    }
    let listen = match &config.link.listen {
        Some(listen) => listen.clone(),
        None => format!("0.0.0.0:{}", check_address(&told)?.1),
    };
    let (host, port) = check_address(&listen)?;
    let everywhere = is_everywhere(host.trim_matches(['[', ']']));
    let reachable = if everywhere { format!("localhost:{port}") } else { listen.clone() };
    readdress(&mut enrolment, &told, &reachable, progress)?;
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let own = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    for name in [check_address(enrolment.address())?.0, host, own.trim()] {
        let name = name.trim_matches(['[', ']']);
        if !name.is_empty() && !is_everywhere(name) && !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    let dial = if everywhere { format!("127.0.0.1:{port}") } else { listen.clone() };
    Ok((enrolment, Address { listen, dial, names }))
}

fn is_everywhere(host: &str) -> bool {
    matches!(host, "0.0.0.0" | "::")
}

/// An enrolment that was told no address learns it from the server.
fn readdress(
    enrolment: &mut Enrolment,
    told: &str,
    address: &str,
    progress: &mpsc::UnboundedSender<Progress>,
) -> Result<(), FederationError> {
    let local = told.starts_with("localhost:") || told.starts_with("127.0.0.1:");
    // An address of a name that the operator gave is the operator's: a tunnel or a balancer may lie between.
    if !local || told == address {
        return Ok(());
    }
    let changed = enrolment.set_address(address)?;
    if !changed.is_empty() {
        drop(progress.send(Progress::Note(format!(
            "clients dial {address} now: the credentials of {} were written again",
            changed.join(", ")
        ))));
    }
    Ok(())
}

/// The data of a roster whose clients keep theirs; the server's own, where it has some, is for evaluation.
fn roster_data(config: &Config, names: &[String]) -> Result<Arc<ClientData>, FederationError> {
    Inputs::default().roster(config, names, None)
}

async fn open_hub(
    plan: &Arc<Plan>,
    files: &RunDir,
    enrolment: &Enrolment,
    (address, resume): (String, bool),
    progress: &mpsc::UnboundedSender<Progress>,
) -> Result<Hub, FederationError> {
    let (seed, certificate) = HubArgs::keys(enrolment)?;
    let manifest = Manifest::of(&plan.config, &plan.shards, &plan.initial, &plan.serving.policies());
    let manifest = serde_json::json!(manifest).to_string();
    let id = files.run_id(resume, run_id)?;
    let told = progress.clone();
    let args = HubArgs {
        federation: enrolment.id().into(),
        address,
        seed,
        certificate,
        config: plan.config.link.clone(),
        members: enrolment.members().to_vec(),
        // Clients that agreed with another manifest of the same run have to agree anew.
        run: format!("{id}-{:.8}", blake3::hash(manifest.as_bytes()).to_hex()),
        manifest,
        // No policy sends more than twice its values and their places.
        longest_upload: plan.dense_frame.saturating_mul(4).saturating_add(1 << 20),
        resume,
        say: Arc::new(move |text| drop(told.send(Progress::Note(text)))),
    };
    Ok(Hub::start(args).await?)
}

/// Gives the broker the rights of the clients that are enrolled by now.
async fn follow_enrolment(broker: &Broker, dir: &Path, listen: &str) {
    let (dir, listen) = (dir.to_owned(), listen.to_owned());
    let read = blocking("reading the enrolment", move || Enrolment::open(&dir)).await;
    let reloaded = match read {
        Ok(Ok(enrolment)) => broker.reload(&enrolment, &listen).await,
        Ok(Err(error)) => Err(LinkError::Process(error.to_string())),
        Err(crash) => Err(LinkError::Process(crash.to_string())),
    };
    if let Err(error) = reloaded {
        tracing::warn!("the enrolment cannot be followed: {error}");
    }
}
