//! The run directory's files. The journal is the truth: after a crash, the line files are written anew from it.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::journal_dir::journal_dir;
use super::{FederationError, Summary};

/// The effective config.
const CONFIG: &str = "config.toml";

/// A run's directory.
pub(super) struct RunDir {
    place: Arc<Place>,
    metrics: File,
    clients: File,
    last_round: Option<u32>,
}

/// The path of a run's files when they were opened.
pub(super) struct Place {
    path: PathBuf,
    /// Files that are written to for as long as the run goes on, and what tells each from another of its name.
    files: Vec<(PathBuf, Identity)>,
}

impl Place {
    /// Looks whether the files are still there. Blocking.
    ///
    /// # Errors
    /// [`FederationError::Moved`] where they are not: what is written to them is lost.
    pub fn check(&self) -> Result<(), FederationError> {
        let gone =
            |(file, before): &&(PathBuf, Identity)| fs::metadata(file).ok().map(|now| identity(&now)) != Some(*before);
        match self.files.iter().find(gone) {
            Some((file, _)) => Err(FederationError::Moved { run_dir: self.path.clone(), file: file.clone() }),
            None => Ok(()),
        }
    }
}

/// Device and number of a file.
type Identity = (u64, u64);

#[cfg(unix)]
fn identity(metadata: &fs::Metadata) -> Identity {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino())
}

#[cfg(not(unix))]
fn identity(_: &fs::Metadata) -> Identity {
    (0, 0)
}

impl RunDir {
    /// Makes the line files, filled with what the journal knows: of a new run nothing.
    ///
    /// `rows` are the closed rounds with their lines of `metrics.jsonl` and `clients.jsonl`.
    pub fn open(path: &Path, config: &str, rows: &[(u32, String, String)]) -> Result<Self, FederationError> {
        write_whole(&path.join(CONFIG), config)?;
        let (metrics_path, clients_path) = (path.join("metrics.jsonl"), path.join("clients.jsonl"));
        write_whole(&metrics_path, &rows.iter().map(|(_, row, _)| format!("{row}\n")).collect::<String>())?;
        write_whole(&clients_path, &rows.iter().map(|(.., clients)| clients.as_str()).collect::<String>())?;
        let append = |path: &Path| OpenOptions::new().append(true).open(path).map_err(|source| of(path, source));
        let (metrics, clients) = (append(&metrics_path)?, append(&clients_path)?);
        let place = Place { path: path.into(), files: vec![named(metrics_path)?, named(clients_path)?] };
        let last_round = rows.last().map(|(round, ..)| *round);
        Ok(Self { place: Arc::new(place), metrics, clients, last_round })
    }

    /// Knows the journal's file too, once it has its name.
    pub fn with_journal(mut self, journal: PathBuf) -> Result<Self, FederationError> {
        let mut files = self.place.files.clone();
        files.push(named(journal)?);
        self.place = Arc::new(Place { path: self.place.path.clone(), files });
        Ok(self)
    }

    /// The last round that the files had when they were opened.
    pub fn last_round(&self) -> Option<u32> {
        self.last_round
    }

    /// The path of the files.
    pub fn place(&self) -> &Arc<Place> {
        &self.place
    }

    /// Appends a closed round.
    pub fn append(&mut self, row: &str, client_rows: &str) -> Result<(), FederationError> {
        self.place.check()?;
        let named =
            |name: &str, result: std::io::Result<()>| result.map_err(|source| of(&self.place.path.join(name), source));
        named("metrics.jsonl", self.metrics.write_all(format!("{row}\n").as_bytes()))?;
        named("clients.jsonl", self.clients.write_all(client_rows.as_bytes()))
    }

    /// The id of the run, which its clients know it by: made at its start, and read where it goes on.
    pub fn run_id(
        &self,
        resume: bool,
        make: impl FnOnce() -> std::io::Result<String>,
    ) -> Result<String, FederationError> {
        let path = self.place.path.join("run.id");
        if resume && let Ok(known) = fs::read_to_string(&path) {
            return Ok(known.trim().to_owned());
        }
        let id = make().map_err(|source| of(&path, source))?;
        write_whole(&path, &format!("{id}\n"))?;
        Ok(id)
    }

    /// Writes `summary.json`.
    pub fn summarize(&self, summary: &Summary) -> Result<(), FederationError> {
        write_whole(&self.place.path.join("summary.json"), &format!("{:#}\n", serde_json::json!(summary)))
    }

    /// The PEFT folder.
    pub fn adapter(&self) -> PathBuf {
        self.place.path.join("adapter")
    }

    /// The report.
    pub fn report(&self) -> PathBuf {
        self.place.path.join("report.html")
    }
}

/// Makes what a new run has before its journal: the folder that marks the directory as one where a run was begun, then the
/// config. What an attempt before left is written over.
pub(super) fn begin(run_dir: &Path, config: &str) -> Result<RunDir, FederationError> {
    let (journal, foreign) = (journal_dir(run_dir), run_dir.join(CONFIG));
    if foreign.exists() && !journal.exists() {
        return Err(FederationError::Foreign { run_dir: run_dir.into(), file: foreign });
    }
    fs::create_dir_all(&journal).map_err(|source| of(&journal, source))?;
    let files = RunDir::open(run_dir, config, &[])?;
    // The journal may outlive a loss of power only where its directory and the config do.
    let parent = run_dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    for place in [Some(&run_dir.join(CONFIG) as &Path), Some(run_dir), parent].into_iter().flatten() {
        File::open(place).and_then(|file| file.sync_all()).map_err(|source| of(place, source))?;
    }
    Ok(files)
}

fn named(file: PathBuf) -> Result<(PathBuf, Identity), FederationError> {
    let metadata = fs::metadata(&file).map_err(|source| of(&file, source))?;
    let identity = identity(&metadata);
    Ok((file, identity))
}

/// Writes a file whole or not at all: a reader never sees half of it.
fn write_whole(path: &Path, text: &str) -> Result<(), FederationError> {
    let part = path.with_extension("part");
    fs::write(&part, text).and_then(|()| fs::rename(&part, path)).map_err(|source| of(path, source))
}

fn of(path: &Path, source: std::io::Error) -> FederationError {
    FederationError::RunDir { path: path.into(), source }
}

#[cfg(test)]
mod tests {
    use super::super::journal_dir::is_run;
    use super::*;

    #[test]
    fn a_directory_that_is_moved_away_or_made_anew_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let (here, there) = (dir.path().join("run"), dir.path().join("there"));
        let mut files = begin(&here, "").unwrap();
        files.append("{}", "").unwrap();
        fs::rename(&here, &there).unwrap();
        let error = files.append("{}", "").unwrap_err().to_string();
        assert!(error.contains("was moved or removed") && error.contains("run"), "{error}");
        begin(&here, "").unwrap();
        assert!(files.append("{}", "").is_err(), "other files of the same names");
        assert_eq!(fs::read_to_string(there.join("metrics.jsonl")).unwrap(), "{}\n");
    }

    #[test]
    fn a_config_of_somebody_else_is_not_written_over() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(CONFIG), "mine").unwrap();
        let error = begin(dir.path(), "ours").map(|_| ()).unwrap_err();
        assert_eq!((error.exit_code(), is_run(dir.path())), (2, false));
        assert_eq!(fs::read_to_string(dir.path().join(CONFIG)).unwrap(), "mine");
    }

    #[test]
    fn what_a_run_left_that_never_became_one_is_begun_again() {
        let dir = tempfile::tempdir().unwrap();
        let journal = journal_dir(dir.path());
        fs::create_dir_all(&journal).unwrap();
        fs::write(journal.join("journal.redb.new"), "half").unwrap();
        for _ in 0..2 {
            begin(dir.path(), "ours").unwrap();
            assert!(!is_run(dir.path()));
        }
    }
}
