//! `cellm doctor`: is this machine, with this config, fit for a run? One line a check; the exit code is that of the first
//! failed one. What a run would refuse before its first round is found here.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::config::Config;
use crate::data;
use crate::federation::{self, Inputs, is_run};
use crate::metrics::Exporter;
use crate::policy::PolicyHost;
use crate::trainer::TrainerKind;

use super::args::{ConfigSources, Verbosity};
use super::failure::message;
use super::{Failure, config, output, progress, visible};

/// Checks and prints.
pub fn doctor(arguments: &ConfigSources, verbosity: Verbosity) -> Result<u8, Failure> {
    let mut lines = CheckLines { json: verbosity.json, exit_code: 0, checks: Vec::new() };
    lines.check("version", Ok(version()))?;
    lines.check("machine", Ok(machine()))?;
    let config = match config::load(arguments) {
        Ok(loaded) => {
            lines.check("config", Ok("every key is known and every value in its range".into()))?;
            loaded.config
        }
        Err(failure) => {
            lines.check("config", Err(failure))?;
            Config::default()
        }
    };
    let inputs = Inputs::default();
    lines.check("model", model(&config, &inputs, verbosity))?;
    lines.check("data", records(&config, &inputs))?;
    lines.check("partition", partition(&config, &inputs))?;
    for reference in references(&config) {
        lines.check("policy", policy(&config, &reference))?;
    }
    if lines.exit_code == 0 {
        lines.run(federation::check(&config, &inputs))?;
    }
    lines.check("port", port(config.metrics.listen.as_deref()))?;
    lines.check("runs", writable(config.run.out.as_deref()))?;
    if verbosity.json {
        output::print_json(&json!({ "checks": lines.checks, "exit_code": lines.exit_code }))?;
    }
    Ok(lines.exit_code)
}

/// Results of the checks so far.
struct CheckLines {
    json: bool,
    /// That of the first failed check.
    exit_code: u8,
    checks: Vec<Value>,
}

impl CheckLines {
    fn check(&mut self, name: &str, result: Result<String, Failure>) -> Result<(), Failure> {
        match result {
            Ok(text) => self.add("ok", name, &text),
            Err(failure) => {
                self.exit_code = if self.exit_code == 0 { failure.code } else { self.exit_code };
                self.add("failed", name, &message(failure.error.as_ref()))
            }
        }
    }

    /// A line for each warning that a run would give, and one with the run's size: clients, training records, adapter
    /// values.
    fn run(&mut self, checked: Result<federation::Checked, federation::FederationError>) -> Result<(), Failure> {
        let checked = match checked {
            Ok(checked) => checked,
            Err(error) => return self.check("run", Err(error.into())),
        };
        for warning in &checked.warnings {
            self.add("note", "run", warning)?;
        }
        let federation::Checked { clients, examples, values, .. } = checked;
        self.check("run", Ok(format!("{clients} clients with {examples} training records, {values} adapter values")))
    }

    fn add(&mut self, verdict: &str, name: &str, text: &str) -> Result<(), Failure> {
        self.checks.push(json!({ "check": name, "verdict": verdict, "found": text }));
        if self.json {
            return Ok(());
        }
        output::print(&format!("{verdict:<6}  {name:<10}  {}\n", visible::line(text)))
    }
}

fn version() -> String {
    let cuda = if cfg!(feature = "cuda") { "built with cuda" } else { "built without cuda" };
    format!("cellm {}, {cuda}", env!("CARGO_PKG_VERSION"))
}

fn machine() -> String {
    let cores =
        std::thread::available_parallelism().map_or_else(|_| "unknown number of".into(), |cores| cores.to_string());
    let memory = memory_kib().map_or_else(
        || "memory unknown".into(),
        |(total, free)| format!("{} of memory, {} available", gib(total), gib(free)),
    );
    format!("{} {}, {cores} cores, {memory}", std::env::consts::OS, std::env::consts::ARCH)
}

/// Total and available memory; Linux tells it in a file.
fn memory_kib() -> Option<(u64, u64)> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let field =
        |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok());
    Some((field("MemTotal:")?, field("MemAvailable:")?))
}

fn gib(kib: u64) -> String {
    format!("{:.1} GiB", kib as f64 / (1024.0 * 1024.0))
}

fn model(config: &Config, inputs: &Inputs, verbosity: Verbosity) -> Result<String, Failure> {
    progress::fetch(&config.model, verbosity)?;
    let model = inputs.model(config)?;
    let positions =
        if model.reads_pictures() { String::new() } else { format!(", {} positions", model.max_positions()) };
    Ok(model.describe() + &positions)
}

fn records(config: &Config, inputs: &Inputs) -> Result<String, Failure> {
    let dataset = inputs.dataset(config)?;
    let classes = match dataset.classes().len() {
        0 => String::new(),
        classes => format!(", {classes} classes"),
    };
    Ok(format!("{} records{classes}", dataset.len()))
}

/// Clients and records of the partition. An error where a client has no training record: it could only be dropped.
fn partition(config: &Config, inputs: &Inputs) -> Result<String, Failure> {
    let dataset = inputs.dataset(config)?;
    let split = data::partition(&dataset, &config.partition, &config.data, config.run.seed)?;
    let sizes: Vec<usize> = split.shards.iter().map(|shard| shard.train.len()).collect();
    let empty = sizes.iter().filter(|size| **size == 0).count();
    let trains = config.client.trainer == TrainerKind::Burn;
    let none = match empty {
        0 => String::new(),
        empty if trains => format!("; {empty} of them have none and would drop out of every round"),
        empty => format!("; {empty} of them have none"),
    };
    let (least, most) = (sizes.iter().min().unwrap_or(&0), sizes.iter().max().unwrap_or(&0));
    Ok(format!("{} clients with {least} to {most} training records{none}", sizes.len()))
}

/// The built-in policies and what the config names beside them.
fn references(config: &Config) -> Vec<String> {
    let mut all: Vec<String> = PolicyHost::builtin_names().map(str::to_owned).collect();
    for named in [&config.download.policy, &config.upload.policy, &config.aggregate.policy] {
        if !all.contains(named) {
            all.push(named.clone());
        }
    }
    all
}

fn policy(config: &Config, reference: &str) -> Result<String, Failure> {
    let policy = PolicyHost::new(&config.limits, &config.policy)?.load(reference)?;
    Ok(format!("{} {}, {}, {}", policy.name, policy.version, policy.worlds(), policy.hash))
}

/// The address that metrics would be served at. An error where it cannot be listened on.
fn port(listen: Option<&str>) -> Result<String, Failure> {
    let Some(listen) = listen else { return Ok("metrics.listen is not set: no metrics are served".into()) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime
        .map_err(|error| Failure { code: 1, error: anyhow::Error::new(error).context("cannot start a runtime") })?;
    // It is free again when the endpoint is dropped.
    match runtime.block_on(Exporter::bind(listen)) {
        Ok(endpoint) => Ok(format!("{} can be served on", endpoint.address())),
        Err(error) => Err(Failure { code: 2, error: error.into() }),
    }
}

/// The directory that a run would write to. An error where no file can be made there; the file that tries it is
/// removed.
fn writable(out: Option<&Path>) -> Result<String, Failure> {
    let wanted = out.map_or_else(|| PathBuf::from("runs"), Path::to_owned);
    if out.is_some() && is_run(&wanted) {
        return Err(Failure::usage(format!("{} holds a run already; choose another run.out", wanted.display())));
    }
    let here = || PathBuf::from(".");
    let exists = wanted.ancestors().find(|dir| dir.is_dir()).map_or_else(here, Path::to_owned);
    let file = exists.join(format!(".cellm-doctor-{}", std::process::id()));
    std::fs::write(&file, b"cellm").map_err(|error| Failure::file("write to", &exists, error))?;
    std::fs::remove_file(&file).map_err(|error| Failure::file("remove", &file, error))?;
    Ok(format!("{} can be written", wanted.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_cannot_be_written_is_named() {
        let dir = tempfile::tempdir().unwrap();
        assert!(writable(Some(&dir.path().join("a/b"))).is_ok());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        let failure = writable(Some("/proc/self/nowhere".as_ref())).unwrap_err();
        assert!(failure.error.to_string().contains("/proc/self"), "{:?}", failure.error);
    }

    #[test]
    fn a_port_in_use_is_found_and_a_free_one_is_free_afterwards() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let failure = port(Some(&address)).unwrap_err();
        assert!(failure.code == 2 && failure.error.to_string().contains(&address), "{:?}", failure.error);
        drop(taken);
        assert!(port(Some(&address)).is_ok());
        std::net::TcpListener::bind(&address).unwrap();
    }
}
