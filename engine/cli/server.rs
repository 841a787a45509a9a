//! `cellm server`: a deployed federation's server, and commands to one in another terminal.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::federation::{ServerStatus, server_status, stop_server};

use super::args::{ServedRun, Server, ServerCommand, Verbosity};
use super::run::{RUNS, Role, newest, run};
use super::{Failure, output};

/// Lines of a log that are shown.
const LINES: usize = 50;
/// The longest wait for a server to stop.
const PATIENCE: Duration = Duration::from_secs(120);

/// `cellm server`, or one of its commands.
pub fn server(arguments: &Server, verbosity: Verbosity) -> Result<u8, Failure> {
    match &arguments.command {
        None => run(&arguments.run, Role::Serve, verbosity),
        Some(ServerCommand::Status(of)) => {
            let status = server_status(&directory(of)?)?;
            output::show(verbosity.json, || json!(status), || text(&status))?;
            Ok(0)
        }
        Some(ServerCommand::Log(of)) => log(&directory(of)?, verbosity.json),
        Some(ServerCommand::Stop(of)) => stop(&directory(of)?, verbosity.json),
    }
}

fn directory(of: &ServedRun) -> Result<PathBuf, Failure> {
    let found = of.out.clone().or_else(|| newest(Path::new(RUNS)));
    found.ok_or_else(|| Failure::usage(format!("there is no run under {RUNS}; name it with --out")))
}

fn text(status: &ServerStatus) -> String {
    let ServerStatus { pid, running, address, round, rounds, ready, clients, .. } = status;
    let state = if *running { format!("running as process {pid}") } else { "not running".into() };
    let mut text =
        format!("{state} at {address}\nround {round} of {rounds} closed, {ready} of {} clients there\n", clients.len());
    for client in clients {
        let heard = client.silent_s.map_or_else(|| "never heard of".into(), |s| format!("heard of {s:.1} s ago"));
        let reason = client.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        // Writing to a text cannot fail.
        let _ = writeln!(text, "  {}  {}, {heard}{reason}", client.name, client.state);
    }
    text
}

fn log(dir: &Path, json: bool) -> Result<u8, Failure> {
    let path = dir.join("log.jsonl");
    let text = std::fs::read_to_string(&path).map_err(|error| Failure::file("read", &path, error))?;
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(LINES)..];
    let object = || {
        let lines: Vec<serde_json::Value> = last.iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
        json!({ "log": path, "lines": lines })
    };
    output::show(json, object, || last.iter().map(|line| format!("{line}\n")).collect())?;
    Ok(0)
}

/// Asks, and waits until the server is gone.
fn stop(dir: &Path, json: bool) -> Result<u8, Failure> {
    if !server_status(dir)?.running {
        return Err(Failure::usage(format!("no server is running in {}", dir.display())));
    }
    stop_server(dir)?;
    let began = Instant::now();
    while server_status(dir)?.running {
        if began.elapsed() > PATIENCE {
            let error = anyhow::anyhow!("the server in {} was asked to stop and still runs", dir.display());
            return Err(Failure { code: 1, error });
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let text = format!("stopped; to go on: cellm server --resume --out {}\n", dir.display());
    output::show(json, || json!({ "stopped": true, "run_dir": dir }), || text)?;
    Ok(0)
}
