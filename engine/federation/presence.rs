//! A server's presence in its run directory, for commands in another terminal: `status.json`, written again each second, and a file
//! `stop`, which asks it to stop.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::FederationError;
use super::plan::Plan;
use crate::link::{Hub, MemberStatus};
use crate::pool::blocking;

const STATUS: &str = "status.json";
const STOP: &str = "stop";
/// The time between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// Seconds after which a status that was not written again is of a server that is gone.
const FRESH_S: f64 = 10.0;

/// The state of a deployed server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServerStatus {
    /// Its process.
    pub pid: u32,
    /// Seconds since 1970 of this status.
    pub at: f64,
    /// True where the server is at work: the status is fresh and its process there. Not stored.
    #[serde(default)]
    pub running: bool,
    /// Host and port of its broker.
    pub address: String,
    /// Rounds closed.
    pub round: u32,
    /// Rounds planned.
    pub rounds: u32,
    /// Clients that take part and were heard of just now.
    pub ready: u32,
    /// All that are enrolled.
    pub clients: Vec<MemberStatus>,
}

/// Reads the status of the server in a run directory.
///
/// # Errors
/// [`FederationError::RunDir`] where no server ever was.
pub fn server_status(run_dir: &Path) -> Result<ServerStatus, FederationError> {
    let path = run_dir.join(STATUS);
    let text = fs::read_to_string(&path).map_err(|source| FederationError::RunDir { path, source })?;
    let mut status: ServerStatus = serde_json::from_str(&text).map_err(FederationError::Row)?;
    let is_there = cfg!(not(target_os = "linux")) || Path::new(&format!("/proc/{}", status.pid)).exists();
    status.running = is_there && now() - status.at < FRESH_S;
    Ok(status)
}

/// Asks the server in a run directory to stop when what is under way is durable.
///
/// # Errors
/// [`FederationError::RunDir`] where that cannot be written.
pub fn stop_server(run_dir: &Path) -> Result<(), FederationError> {
    let path = run_dir.join(STOP);
    fs::write(&path, "").map_err(|source| FederationError::RunDir { path, source })
}

/// Keeps a server's status up to date and looks for the wish that it stop, for as long as it is awaited.
pub(super) async fn keep(plan: Arc<Plan>, hub: Hub, address: String, stop: watch::Sender<bool>) {
    let dir = plan.run_dir.clone();
    // A wish of before is not one of now.
    let begun = dir.join(STOP);
    drop(blocking("the wish to stop", move || fs::remove_file(begun)).await);
    loop {
        let clients = hub.members();
        let status = ServerStatus {
            pid: std::process::id(),
            at: now(),
            running: true,
            address: address.clone(),
            round: plan.metrics.round.get().max(0) as u32,
            rounds: plan.rounds(),
            ready: clients.iter().filter(|client| client.ready).count() as u32,
            clients,
        };
        let dir = dir.clone();
        let wished = blocking("a server's status", move || write_and_look(&dir, &status)).await;
        if wished.unwrap_or(false) {
            // A server that has ended needs no word.
            let _ = stop.send(true);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Writes the status; true where the server is asked to stop.
fn write_and_look(dir: &Path, status: &ServerStatus) -> bool {
    let (path, part): (PathBuf, PathBuf) = (dir.join(STATUS), dir.join("status.part"));
    let text = format!("{:#}\n", serde_json::json!(status));
    // A directory that is gone is noticed by the run itself.
    drop(fs::write(&part, text).and_then(|()| fs::rename(&part, &path)));
    fs::remove_file(dir.join(STOP)).is_ok()
}

fn now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
