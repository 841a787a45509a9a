//! One cell: a run of the grid and its directory. In: its config and what lies in the directory. Out: whether it is to be
//! begun, gone on with, or left as it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::ExperimentError;
use crate::config::{Config, Layers, changes_results};
use crate::federation::{Summary, is_run};

/// One run of the grid.
#[derive(Debug, Clone)]
pub struct Cell {
    /// Its name, and that of its directory.
    pub name: String,
    /// Its method and setting, as a place in the grid's studies.
    pub study: usize,
    /// Its place among the study's points.
    pub point: usize,
    /// Its seed.
    pub seed: u64,
    /// Its config.
    pub config: Config,
    /// The config as text, each value with its origin.
    pub effective_toml: String,
}

/// A cell that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failed {
    /// The cell.
    pub cell: String,
    /// The reason of the failure.
    pub reason: String,
}

/// State of a cell's directory.
#[derive(Debug)]
pub(super) enum CellState {
    /// Nothing that counts.
    Fresh,
    /// A run that was stopped.
    Unfinished,
    /// A run that came to its end.
    Finished(Box<Summary>),
}

impl Cell {
    /// The cell's directory under the experiment's directory `out`.
    pub fn dir(&self, out: &Path) -> PathBuf {
        out.join("cells").join(&self.name)
    }

    /// State of the cell's directory under `out`.
    ///
    /// # Errors
    /// [`ExperimentError::Differs`] where it was run with another config, or its config cannot be read.
    pub(super) fn state(&self, out: &Path) -> Result<CellState, ExperimentError> {
        let dir = self.dir(out);
        let config = dir.join("config.toml");
        let text = std::fs::read_to_string(dir.join("summary.json")).ok();
        // Of a finished cell nothing but its results need be there any more.
        if !is_run(&dir) && text.is_none() {
            return Ok(CellState::Fresh);
        }
        let stored = Layers { files: vec![config], ..Layers::default() }.load();
        let stored =
            stored.map_err(|source| ExperimentError::Cell { cell: self.name.clone(), source: source.into() })?;
        let differences = differences(&stored.config, &self.config);
        if !differences.is_empty() {
            let (cell, differences) = (self.name.clone(), differences.join("; "));
            return Err(ExperimentError::Differs { cell, differences, dir });
        }
        // A summary that cannot be read is written again at the run's end.
        let summary: Option<Summary> = text.and_then(|text| serde_json::from_str(&text).ok());
        // A privacy budget may end a run before its last round.
        match summary.filter(|summary| !summary.interrupted) {
            Some(summary) => Ok(CellState::Finished(Box::new(summary))),
            None if is_run(&dir) => Ok(CellState::Unfinished),
            None => Ok(CellState::Fresh),
        }
    }
}

/// The keys whose values differ, with both.
fn differences(stored: &Config, now: &Config) -> Vec<String> {
    let (stored, now) = (flat(stored), flat(now));
    let keys: std::collections::BTreeSet<&String> = stored.keys().chain(now.keys()).collect();
    let value = |of: &BTreeMap<String, Value>, key| of.get(key).map_or_else(|| "not set".into(), Value::to_string);
    keys.into_iter()
        .filter(|key| changes_results(key) && stored.get(*key) != now.get(*key))
        .map(|key| format!("{key} was {} and is {} now", value(&stored, key), value(&now, key)))
        .collect()
}

/// A config as `section.key` and value.
fn flat(config: &Config) -> BTreeMap<String, Value> {
    let mut keys = BTreeMap::new();
    if let Value::Object(sections) = serde_json::json!(config) {
        for (section, value) in sections {
            let Value::Object(inside) = value else { continue };
            keys.extend(inside.into_iter().map(|(key, value)| (format!("{section}.{key}"), value)));
        }
    }
    // Unset is unset, whether it is written or not.
    keys.retain(|_, value| !value.is_null());
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(config: Config) -> Cell {
        let effective_toml = Layers::default().load().unwrap().to_toml();
        Cell { name: "a_seed=1".into(), study: 0, point: 0, seed: 1, config, effective_toml }
    }

    /// Leaves what a begun run leaves: a journal and the config.
    fn begin(cell: &Cell, out: &Path) {
        let dir = cell.dir(out);
        std::fs::create_dir_all(dir.join("journal")).unwrap();
        std::fs::write(dir.join("config.toml"), &cell.effective_toml).unwrap();
        std::fs::write(dir.join("journal/journal.redb"), "").unwrap();
    }

    #[test]
    fn a_cell_with_another_config_names_itself_and_the_keys() {
        let out = tempfile::tempdir().unwrap();
        let mut cell = cell(Config::default());
        assert!(matches!(cell.state(out.path()).unwrap(), CellState::Fresh));
        begin(&cell, out.path());
        assert!(matches!(cell.state(out.path()).unwrap(), CellState::Unfinished));
        cell.config.run.threads = 7;
        cell.config.metrics.listen = Some("127.0.0.1:0".into());
        assert!(matches!(cell.state(out.path()).unwrap(), CellState::Unfinished), "threads change nothing");
        cell.config.client.lr = 0.5;
        cell.config.upload.options.insert("x".into(), true.into());
        let error = cell.state(out.path()).unwrap_err().to_string();
        assert!(error.starts_with("cell a_seed=1 was run with another config: client.lr was 0.00"), "{error}");
        assert!(error.contains("and is 0.5 now; upload.options was {} and is {\"x\":true} now"), "{error}");
    }

    #[test]
    fn a_cell_is_finished_when_it_has_a_summary_of_its_end() {
        let out = tempfile::tempdir().unwrap();
        let cell = cell(Config::default());
        let dir = cell.dir(out.path());
        begin(&cell, out.path());
        let summary = |rounds: u32, interrupted: bool| {
            let text = serde_json::json!({
                "run_dir": "x", "rounds": rounds, "clients": 24, "values": 1, "eval_loss_before": null,
                "eval_loss_after": 3.0, "bytes_down": 1, "bytes_up": 1, "bytes_total": 2, "dense_bytes_total": 2,
                "reduction": 1.0, "adapter": "x", "adapter_hash": "x", "report": "x", "seconds": 1.0,
                "interrupted": interrupted, "peak_rss_bytes": 1,
            });
            std::fs::write(dir.join("summary.json"), text.to_string()).unwrap();
            matches!(cell.state(out.path()).unwrap(), CellState::Finished(_))
        };
        assert!(summary(30, false));
        assert!(!summary(12, true));
        std::fs::write(dir.join("summary.json"), "{").unwrap();
        assert!(matches!(cell.state(out.path()).unwrap(), CellState::Unfinished));
        std::fs::remove_dir_all(dir.join("journal")).unwrap();
        assert!(matches!(cell.state(out.path()).unwrap(), CellState::Fresh), "nothing to go on with");
        assert!(summary(30, false), "a finished cell needs no journal");
    }
}
