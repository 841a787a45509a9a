//! The database behind the journal: its tables, and one transaction for each change.

mod clients;
mod policies;
mod server;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};

use super::blobs::{self, BLOBS, Blob};
use super::{ClosedRound, JournalError, RunRecord, StoredUpdate, Verdict};
use crate::wire::Frame;
use clients::CLIENTS;
use server::{MEMORY, REFERENCES};

/// The journal format that this build reads and writes.
const FORMAT: u32 = 4;
const FILE: &str = "journal.redb";
/// Pages that wait for their commit and pages that were read: a round's uploads pass through once, so little helps.
const CACHE_BYTES: usize = 16 << 20;

const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
const STATE: TableDefinition<&str, &[u8]> = TableDefinition::new("state");
const ROWS: TableDefinition<u32, &str> = TableDefinition::new("rows");
const CLIENT_ROWS: TableDefinition<u32, &str> = TableDefinition::new("client-rows");
/// (round, position) to meta; the frame and the client's state are blobs.
const UPDATES: TableDefinition<(u32, u32), &str> = TableDefinition::new("updates");

/// The journal of one run, open for this process alone. Calls block until the data is on disk; share it behind an
/// `Arc` and call it from blocking threads.
pub struct Journal {
    path: PathBuf,
    database: Database,
    last_commit_nanos: AtomicU64,
    /// True once any client's state was kept.
    remembers_clients: AtomicBool,
}

impl Journal {
    /// True where a directory has a journal: from one moment on, when the file with the run's record in it gets its
    /// name.
    pub fn exists(directory: &Path) -> bool {
        directory.join(FILE).exists()
    }

    /// Makes the journal of a new run in a directory, which is made when missing. A journal that exists has its run
    /// record: the file gets its name after the first commit. What an attempt before left is taken away.
    ///
    /// # Errors
    /// When there is one already or the directory cannot be written: then there is none afterwards.
    pub fn create(directory: &Path, run: &RunRecord) -> Result<Self, JournalError> {
        Self::make(directory, run).map_err(JournalError::before_the_run)
    }

    fn make(directory: &Path, run: &RunRecord) -> Result<Self, JournalError> {
        let path = directory.join(FILE);
        if path.exists() {
            return Err(JournalError::Exists { path });
        }
        let unnamed = directory.join("journal.redb.new");
        let io = |error| JournalError::io(&path, error);
        fs::create_dir_all(directory).map_err(io)?;
        if unnamed.exists() {
            fs::remove_file(&unnamed).map_err(io)?;
        }
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create(&unnamed)
            .map_err(|error| JournalError::database(&unnamed, error))?;
        let journal = Self::over(path.clone(), database);
        let record = serde_json::to_vec(run).map_err(|error| io(error.into()))?;
        journal.write(|transaction| {
            let mut meta = transaction.open_table(META)?;
            meta.insert("format", FORMAT.to_le_bytes().as_slice())?;
            meta.insert("run", record.as_slice())?;
            transaction.open_table(STATE)?;
            transaction.open_table(ROWS)?;
            transaction.open_table(CLIENT_ROWS)?;
            transaction.open_table(UPDATES)?;
            transaction.open_table(BLOBS)?;
            transaction.open_table(CLIENTS)?;
            transaction.open_table(REFERENCES)?;
            transaction.open_table(MEMORY)?;
            Ok(())
        })?;
        fs::rename(&unnamed, &path).map_err(io)?;
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(io)?;
        Ok(journal)
    }

    /// Opens the journal of a run and verifies every checksum in it.
    ///
    /// # Errors
    /// When it is missing, damaged, in use by another process or of another format.
    pub fn open(directory: &Path) -> Result<(Self, RunRecord), JournalError> {
        let path = directory.join(FILE);
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .set_check_integrity_on_open(true)
            .open(&path)
            .map_err(|error| JournalError::database(&path, error))?;
        let journal = Self::over(path, database);
        let (format, record) = journal.read(|transaction| {
            let meta = transaction.open_table(META)?;
            let value = |key| meta.get(key).map(|value| value.map(|value| value.value().to_vec()));
            Ok((value("format")?, value("run")?))
        })?;
        match format.as_deref().and_then(|format| format.as_array()).copied().map(u32::from_le_bytes) {
            None => return Err(journal.damaged("it has no format number")),
            Some(FORMAT) => {}
            Some(found) => return Err(JournalError::Version { path: journal.path, found, expected: FORMAT }),
        }
        let record = serde_json::from_slice(&record.unwrap_or_default())
            .map_err(|error| journal.damaged(format!("its run record is unreadable: {error}")))?;
        let remembers = journal.read(clients::any)?;
        journal.remembers_clients.store(remembers, Ordering::Relaxed);
        Ok((journal, record))
    }

    fn over(path: PathBuf, database: Database) -> Self {
        let (last_commit_nanos, remembers_clients) = (AtomicU64::new(0), AtomicBool::new(false));
        Self { path, database, last_commit_nanos, remembers_clients }
    }

    /// The state after the newest closed round; none before the first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn latest(&self) -> Result<Option<ClosedRound>, JournalError> {
        let stored = self.read(|transaction| {
            let state = transaction.open_table(STATE)?;
            let Some(round) = closed_round(&state)? else { return Ok(None) };
            let ledger = state.get("ledger")?.map(|ledger| String::from_utf8_lossy(ledger.value()).into_owned());
            let blobs = transaction.open_table(BLOBS)?;
            let row = |table: TableDefinition<u32, &str>| {
                let text = transaction.open_table(table)?.get(round)?.map(|row| row.value().to_owned());
                Ok::<_, redb::Error>(text.unwrap_or_default())
            };
            let (weights, bytes) = blobs::get_values(&blobs, Blob::Weights)?;
            let (memory, references) = server::read(transaction)?;
            let closed = ClosedRound {
                round,
                weights: weights.into(),
                optimizer: blobs::get_optimizer(&blobs, Blob::Optimizer)?,
                mean: blobs::get_values(&blobs, Blob::Mean)?.0.into(),
                row: row(ROWS)?,
                client_rows: row(CLIENT_ROWS)?,
                ledger: ledger.unwrap_or_default(),
                memory,
                references,
            };
            Ok(Some((closed, bytes)))
        })?;
        match stored {
            Some((_, bytes)) if !bytes.is_multiple_of(4) => {
                Err(self.damaged(format!("its weights have {bytes} bytes, expected a multiple of 4")))
            }
            stored => Ok(stored.map(|(closed, _)| closed)),
        }
    }

    /// A stored upload of a round; none where there is none that this build reads.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn update(&self, round: u32, position: u32) -> Result<Option<StoredUpdate>, JournalError> {
        self.read(|transaction| {
            let table = transaction.open_table(BLOBS)?;
            let frame = blobs::get(&table, Blob::Frame(round, position))?;
            let state = blobs::get(&table, Blob::State(round, position))?.unwrap_or_default();
            let updates = transaction.open_table(UPDATES)?;
            // A client that was dropped has no bytes here.
            let frame = match frame.map(|bytes| (!bytes.is_empty()).then(|| Frame::read(bytes)).transpose()) {
                Some(Ok(frame)) => frame,
                Some(Err(_)) | None => return Ok(None),
            };
            let meta = updates.get((round, position))?.map(|meta| meta.value().to_owned());
            Ok(meta.map(|meta| StoredUpdate { position, frame, meta, state }))
        })
    }

    /// The positions of a round's cohort that have a stored upload, in ascending order.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn update_positions(&self, round: u32) -> Result<Vec<u32>, JournalError> {
        self.read(|transaction| {
            let updates = transaction.open_table(UPDATES)?;
            let range = updates.range((round, 0)..=(round, u32::MAX))?;
            Ok(range.map(|entry| entry.map(|(key, _)| key.value().1)).collect::<Result<_, _>>()?)
        })
    }

    /// Stores uploads of the round in progress, all in one transaction. One of the same position is replaced.
    ///
    /// # Errors
    /// When the round is closed already, or the database cannot be written (then none is stored).
    pub fn put_updates(&self, round: u32, updates: &[StoredUpdate]) -> Result<(), JournalError> {
        self.write_round(round, |transaction| {
            let mut table = transaction.open_table(UPDATES)?;
            let mut frames = transaction.open_table(BLOBS)?;
            for update in updates {
                table.insert((round, update.position), update.meta.as_str())?;
                let blob = Blob::Frame(round, update.position);
                match &update.frame {
                    Some(frame) => blobs::put_frame(&mut frames, blob, frame)?,
                    None => blobs::put_bytes(&mut frames, blob, &[])?,
                }
                // An answer that changes nothing takes the place of one that did.
                blobs::remove(&mut frames, Blob::State(round, update.position))?;
                if !update.state.is_empty() {
                    blobs::put_bytes(&mut frames, Blob::State(round, update.position), &update.state)?;
                }
            }
            Ok(())
        })
    }

    /// Closes a round in one transaction: its state replaces the one before, its rows are added, what the clients of the
    /// verdicts remember is kept and what other clients did in the round is forgotten, and the uploads of this round and
    /// of all before it go.
    ///
    /// # Errors
    /// When this or a later round is closed already, or the database cannot be written (then nothing has changed).
    pub fn close_round(&self, closed: &ClosedRound, verdicts: &[Verdict]) -> Result<(), JournalError> {
        self.write_round(closed.round, |transaction| {
            let mut state = transaction.open_table(STATE)?;
            state.insert("round", closed.round.to_le_bytes().as_slice())?;
            state.insert("ledger", closed.ledger.as_bytes())?;
            transaction.open_table(ROWS)?.insert(closed.round, closed.row.as_str())?;
            transaction.open_table(CLIENT_ROWS)?.insert(closed.round, closed.client_rows.as_str())?;
            let mut table = transaction.open_table(BLOBS)?;
            blobs::put_values(&mut table, Blob::Weights, &closed.weights)?;
            blobs::put_optimizer(&mut table, Blob::Optimizer, &closed.optimizer)?;
            if !closed.mean.is_empty() {
                blobs::put_values(&mut table, Blob::Mean, &closed.mean)?;
            }
            blobs::remove_frames(&mut table, closed.round)?;
            drop(table);
            server::write(transaction, closed)?;
            if clients::settle(transaction, closed.round, verdicts)? {
                // Before the commit, so that no reader can see the states and not this.
                self.remembers_clients.store(true, Ordering::Relaxed);
            }
            transaction.open_table(UPDATES)?.retain_in(..=(closed.round, u32::MAX), |_, _| false)?;
            Ok(())
        })
    }

    /// The lines of `metrics.jsonl` and of `clients.jsonl` of the closed rounds after `round` (none: of all), in
    /// order.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn rows_after(&self, round: Option<u32>) -> Result<Vec<(u32, String, String)>, JournalError> {
        self.read(|transaction| {
            let (rows, clients) = (transaction.open_table(ROWS)?, transaction.open_table(CLIENT_ROWS)?);
            let mut found = Vec::new();
            for entry in rows.range(round.map_or(0, |round| round.saturating_add(1))..)? {
                let (round, row) = entry.map(|(round, row)| (round.value(), row.value().to_owned()))?;
                let clients = clients.get(round)?.map(|rows| rows.value().to_owned());
                found.push((round, row, clients.unwrap_or_default()));
            }
            Ok(found)
        })
    }

    /// The `metrics.jsonl` lines of all closed rounds, in order.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn rows(&self) -> Result<Vec<String>, JournalError> {
        self.read(|transaction| {
            let rows = transaction.open_table(ROWS)?;
            Ok(rows.iter()?.map(|entry| entry.map(|(_, row)| row.value().to_owned())).collect::<Result<_, _>>()?)
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Length of the file.
    ///
    /// # Errors
    /// When the file cannot be asked.
    pub fn bytes_on_disk(&self) -> Result<u64, JournalError> {
        Ok(fs::metadata(&self.path).map_err(|error| JournalError::io(&self.path, error))?.len())
    }

    /// Seconds that the newest commit took, writing and syncing; 0 before the first.
    pub fn last_commit_seconds(&self) -> f64 {
        self.last_commit_nanos.load(Ordering::Relaxed) as f64 / 1e9
    }

    fn read<T>(&self, read: impl FnOnce(&redb::ReadTransaction) -> Result<T, redb::Error>) -> Result<T, JournalError> {
        let result = self.database.begin_read().map_err(redb::Error::from).and_then(|transaction| read(&transaction));
        result.map_err(|error| JournalError::database(&self.path, error))
    }

    /// One transaction, on disk when this returns: redb syncs at each commit unless told otherwise.
    fn write(&self, write: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>) -> Result<(), JournalError> {
        let commit = || -> Result<(), redb::Error> {
            let transaction = self.database.begin_write()?;
            write(&transaction)?;
            let start = Instant::now();
            transaction.commit()?;
            self.last_commit_nanos.store(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
            Ok(())
        };
        commit().map_err(|error| JournalError::database(&self.path, error))
    }

    /// A transaction that belongs to a round that is not closed yet.
    fn write_round(
        &self,
        found: u32,
        write: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), JournalError> {
        let closed = self.read(|transaction| closed_round(&transaction.open_table(STATE)?))?;
        match closed {
            Some(closed) if found <= closed => {
                Err(JournalError::RoundClosed { path: self.path.clone(), found, closed })
            }
            _ => self.write(write),
        }
    }

    fn damaged(&self, reason: impl Into<String>) -> JournalError {
        JournalError::damaged(&self.path, reason)
    }
}

fn closed_round(state: &impl ReadableTable<&'static str, &'static [u8]>) -> Result<Option<u32>, redb::Error> {
    let round = state.get("round")?;
    Ok(round.and_then(|round| round.value().as_array().copied()).map(u32::from_le_bytes))
}

#[cfg(test)]
mod tests;
