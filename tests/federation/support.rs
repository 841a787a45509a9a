//! Small real runs: a few clients of the bundled data train the bundled model for a few steps.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use cellm::config::Config;
use cellm::federation::{self, FederationError, Progress, Start, Summary};
use cellm::pool::Task;
use serde_json::Value;
use tokio::sync::{mpsc, watch};

/// Longest time that one test waits for another process, on a loaded machine.
pub const DEADLINE: Duration = Duration::from_secs(240);

/// A run of three rounds with four clients each that takes a second or two.
pub fn small() -> Config {
    let mut config = Config::default();
    config.run.rounds = 3;
    config.run.threads = 2;
    config.server.cohort = 4;
    config.server.eval_every = 0;
    config.client.steps = 3;
    config
}

/// The same settings for the binary.
pub const SMALL: [&str; 5] =
    ["run.rounds=3", "run.threads=2", "server.cohort=4", "server.eval_every=0", "client.steps=3"];

/// Runs to the end; `watch` sees each progress event as it comes.
pub async fn run_watched(
    config: Config,
    run_dir: &Path,
    watch: impl FnMut(&Progress),
) -> Result<Summary, FederationError> {
    let start = Start { config, effective_toml: String::new(), run_dir: run_dir.into(), resume: false };
    follow(start, watch).await
}

/// Goes on with the run that is there.
pub async fn run_again(config: Config, run_dir: &Path) -> Result<Summary, FederationError> {
    follow(Start { config, effective_toml: String::new(), run_dir: run_dir.into(), resume: true }, |_| {}).await
}

async fn follow(start: Start, mut watch: impl FnMut(&Progress)) -> Result<Summary, FederationError> {
    let (progress, mut events) = mpsc::unbounded_channel();
    let (_keep, stop) = watch::channel(false);
    let run = Task::start("the run", federation::run(start, progress, stop));
    while let Some(event) = events.recv().await {
        watch(&event);
    }
    run.ended().await.unwrap()
}

pub async fn run(config: Config, run_dir: &Path) -> Result<Summary, FederationError> {
    run_watched(config, run_dir, |_| {}).await
}

/// The adapter's hash of an undisturbed [`small`] run.
pub async fn undisturbed_hash() -> String {
    let dir = tempfile::tempdir().unwrap();
    run(small(), &dir.path().join("run")).await.unwrap().adapter_hash
}

/// The binary with the small settings, then `arguments`.
pub fn cellm(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cellm"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// `cellm run` with the small settings into `out`, then `more`.
pub fn small_run(out: &Path, more: &[&str]) -> Command {
    let mut command = cellm(&["run", "--json", "--out"]);
    command.arg(out);
    for setting in SMALL {
        command.args(["--set", setting]);
    }
    command.args(more);
    command
}

/// `cellm run --resume` of the run in `out`.
pub fn resume(out: &Path) -> Output {
    let mut command = cellm(&["run", "--json", "--resume", "--out"]);
    command.arg(out).output().unwrap()
}

/// The JSON object on the last line of stdout.
pub fn last_json(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().last().unwrap_or_else(|| panic!("no output; stderr: {}", stderr(output)));
    serde_json::from_str(line).unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The objects of a file with one JSON object a line.
pub fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}
