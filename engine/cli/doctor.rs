//! `cellm doctor`: is this machine, with this config, fit for a run? One line a check; the exit code is that of the first
//! failed one.

use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::data::{Dataset, Task};
use crate::policy::PolicyHost;
use crate::trainer::{Model, Trainer};

use super::args::{Sources, Voice};
use super::failure::message;
use super::{Failure, output, progress, sources};

/// Checks and prints.
pub fn doctor(arguments: &Sources, voice: Voice) -> Result<u8, Failure> {
    let mut worst = 0;
    let mut check = |name: &str, result: Result<String, Failure>| {
        let (mark, text) = match result {
            Ok(text) => ("ok    ", text),
            Err(failure) => {
                worst = if worst == 0 { failure.code } else { worst };
                ("failed", message(failure.error.as_ref()))
            }
        };
        output::print(&format!("{mark}  {name:<10}  {text}\n"))
    };
    check("version", Ok(version()))?;
    check("machine", Ok(machine()))?;
    let config = match sources::load(arguments) {
        Ok(loaded) => {
            check("config", Ok("every key is known and every value in its range".into()))?;
            loaded.config
        }
        Err(failure) => {
            check("config", Err(failure))?;
            Config::default()
        }
    };
    check("model", model(&config, voice))?;
    for reference in references(&config) {
        check("policy", policy(&config, &reference))?;
    }
    check("runs", writable(config.run.out.as_deref()))?;
    Ok(worst)
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

fn model(config: &Config, voice: Voice) -> Result<String, Failure> {
    progress::fetch(&config.model, voice)?;
    let model = Model::load(&config.model)?;
    let about = model.describe();
    let classes = match config.data.task {
        Task::Classification => {
            model.classed(Dataset::load(&config.data, None)?, &config.data, &config.lora)?.0.classes().len()
        }
        _ => 0,
    };
    let trainer = Trainer::new(model, &config.lora, classes, config.run.seed)?;
    Ok(format!("{about}; {} adapter values", trainer.layout().values()))
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

/// Whether a run could write: makes and removes a file where its directory would be made.
fn writable(out: Option<&Path>) -> Result<String, Failure> {
    let wanted = out.map_or_else(|| PathBuf::from("runs"), Path::to_owned);
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
}
