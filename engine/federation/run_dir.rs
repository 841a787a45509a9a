//! The run directory's files. The journal is the truth: after a crash, the line files are written anew from it.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::{FederationError, Summary};

/// A run's directory.
pub(super) struct RunDir {
    path: PathBuf,
    metrics: File,
    clients: File,
}

impl RunDir {
    /// Makes the directory and its line files, filled with what the journal knows.
    ///
    /// `rows` are the lines of `metrics.jsonl`, `client_rows` the text of `clients.jsonl`.
    pub fn open(path: &Path, config: &str, rows: &[String], client_rows: &str) -> Result<Self, FederationError> {
        write_whole(&path.join("config.toml"), config)?;
        let (metrics_path, clients_path) = (path.join("metrics.jsonl"), path.join("clients.jsonl"));
        write_whole(&metrics_path, &rows.iter().map(|row| format!("{row}\n")).collect::<String>())?;
        write_whole(&clients_path, client_rows)?;
        let append = |path: PathBuf| {
            OpenOptions::new().append(true).open(&path).map_err(|source| FederationError::RunDir { path, source })
        };
        Ok(Self { path: path.into(), metrics: append(metrics_path)?, clients: append(clients_path)? })
    }

    /// Appends a closed round.
    pub fn append(&mut self, row: &str, client_rows: &str) -> Result<(), FederationError> {
        let named = |name: &str, result: std::io::Result<()>| {
            result.map_err(|source| FederationError::RunDir { path: self.path.join(name), source })
        };
        named("metrics.jsonl", self.metrics.write_all(format!("{row}\n").as_bytes()))?;
        named("clients.jsonl", self.clients.write_all(client_rows.as_bytes()))
    }

    /// Writes `summary.json`.
    pub fn summarize(&self, summary: &Summary) -> Result<(), FederationError> {
        write_whole(&self.path.join("summary.json"), &format!("{:#}\n", serde_json::json!(summary)))
    }

    /// The PEFT folder.
    pub fn adapter(&self) -> PathBuf {
        self.path.join("adapter")
    }

    /// The report.
    pub fn report(&self) -> PathBuf {
        self.path.join("report.html")
    }
}

/// Where the journal of a run lies.
pub(super) fn journal_dir(run_dir: &Path) -> PathBuf {
    run_dir.join("journal")
}

/// Makes a directory and those above it.
pub(super) fn make(path: &Path) -> Result<(), FederationError> {
    fs::create_dir_all(path).map_err(|source| FederationError::RunDir { path: path.into(), source })
}

/// Writes a file whole or not at all: a reader never sees half of it.
fn write_whole(path: &Path, text: &str) -> Result<(), FederationError> {
    let part = path.with_extension("part");
    fs::write(&part, text)
        .and_then(|()| fs::rename(&part, path))
        .map_err(|source| FederationError::RunDir { path: path.into(), source })
}
