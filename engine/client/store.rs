//! The store of a client in a process of its own: what it settled, and what it staged with its last upload until the next
//! assignment says how that ended. Each is one file, written whole or not at all and checked by its hash.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::wire::UploadHeader;

/// The first bytes of a file, with the version of its format.
const MAGIC: &[u8; 8] = b"cellmst1";
const HASH: usize = 32;

/// The reason why a store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file that cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A file that is damaged.
    #[error("{path} is damaged: {reason}; remove it, and the client begins again as one that is new")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The fault.
        reason: &'static str,
    },
    /// Another process that uses it.
    #[error("another process takes part from {0} already")]
    InUse(PathBuf),
}

/// A reference of a tracked download, of one tier.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredReference {
    /// The last broadcast in it.
    pub sequence: u32,
    /// Its values.
    pub values: Arc<Vec<f32>>,
}

/// The settled part: what a client remembers after the last round whose end it knows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settled {
    /// The round; 0 before the first.
    pub round: u32,
    /// Its state, as [`ClientState::to_bytes`](super::ClientState::to_bytes) has it.
    pub state: Vec<u8>,
    /// References of a tracked download, by tier.
    pub references: BTreeMap<u32, StoredReference>,
}

/// The staged part: an upload, and what counts if it is accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct Staged {
    /// The assignment.
    pub id: Vec<u8>,
    /// The round.
    pub round: u32,
    /// The client's number.
    pub client: u32,
    /// Its tier.
    pub tier: u32,
    /// The last round before whose update was accepted.
    pub last_seen: Option<u32>,
    /// The header of the upload.
    pub upload: UploadHeader,
    /// Local steps.
    pub steps: u32,
    /// Seconds of its own work.
    pub seconds: f64,
    /// Its state if the update is accepted; none where that changes nothing.
    pub state: Option<Vec<u8>>,
    /// The bytes of the upload's frame.
    pub frame: Vec<u8>,
    /// The reference after the broadcast, of a tracked download.
    pub reference: Option<StoredReference>,
}

#[derive(Serialize, Deserialize)]
struct SettledMeta {
    run: String,
    round: u32,
    /// Tier and sequence of each reference.
    references: Vec<(u32, u32)>,
}

#[derive(Serialize, Deserialize)]
struct StagedMeta {
    run: String,
    id: Vec<u8>,
    round: u32,
    client: u32,
    tier: u32,
    last_seen: Option<u32>,
    examples: u32,
    /// The bits of the loss.
    loss: Option<u32>,
    steps: u32,
    seconds: f64,
    has_state: bool,
    reference: Option<u32>,
}

/// The store of one client for one run.
#[derive(Debug)]
pub struct Store {
    settled_file: PathBuf,
    staged_file: PathBuf,
    run: String,
    settled: Settled,
    staged: Option<Staged>,
    /// Held for as long as the process takes part.
    _lock: File,
}

impl Store {
    /// Opens the store in `dir`. What it has of another run than `run` counts for nothing.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn open(dir: &Path, run: &str) -> Result<Self, StoreError> {
        fs::create_dir_all(dir).map_err(of(dir))?;
        let lock_file = dir.join("lock");
        let lock = File::create(&lock_file).map_err(of(&lock_file))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(StoreError::InUse(dir.into())),
            Err(fs::TryLockError::Error(source)) => return Err(StoreError::File { path: lock_file, source }),
        }
        let [settled_file, staged_file] = ["settled", "staged"].map(|name| dir.join(name));
        let mut store =
            Self { settled_file, staged_file, run: run.into(), settled: Settled::default(), staged: None, _lock: lock };
        if let Some((meta, blobs)) = read::<SettledMeta>(&store.settled_file)?.filter(|(meta, _)| meta.run == run) {
            let mut blobs = blobs.into_iter();
            store.settled = Settled {
                round: meta.round,
                state: blobs.next().unwrap_or_default(),
                references: meta
                    .references
                    .into_iter()
                    .zip(blobs)
                    .map(|((tier, sequence), bytes)| (tier, StoredReference { sequence, values: floats(&bytes) }))
                    .collect(),
            };
        }
        if let Some((meta, blobs)) = read::<StagedMeta>(&store.staged_file)?.filter(|(meta, _)| meta.run == run) {
            store.staged = staged(meta, blobs);
        }
        Ok(store)
    }

    /// The settled part.
    pub fn settled(&self) -> &Settled {
        &self.settled
    }

    /// The staged part.
    pub fn staged(&self) -> Option<&Staged> {
        self.staged.as_ref()
    }

    /// Makes `settled` what counts, and forgets what was staged. Blocking.
    ///
    /// # Errors
    /// [`StoreError::File`]; what counted before still does.
    pub fn settle(&mut self, settled: Settled) -> Result<(), StoreError> {
        let references = settled.references.iter().map(|(tier, reference)| (*tier, reference.sequence)).collect();
        let meta = SettledMeta { run: self.run.clone(), round: settled.round, references };
        let values: Vec<Vec<u8>> = settled.references.values().map(|reference| bytes(&reference.values)).collect();
        let mut blobs = vec![settled.state.as_slice()];
        blobs.extend(values.iter().map(Vec::as_slice));
        write(&self.settled_file, &meta, &blobs)?;
        match fs::remove_file(&self.staged_file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(of(&self.staged_file)(error)),
            _ => {}
        }
        (self.settled, self.staged) = (settled, None);
        Ok(())
    }

    /// Stages an upload, durably. Blocking.
    ///
    /// # Errors
    /// [`StoreError::File`]
    pub fn stage(&mut self, staged: Staged) -> Result<(), StoreError> {
        let meta = StagedMeta {
            run: self.run.clone(),
            id: staged.id.clone(),
            round: staged.round,
            client: staged.client,
            tier: staged.tier,
            last_seen: staged.last_seen,
            examples: staged.upload.examples,
            loss: staged.upload.loss.map(f32::to_bits),
            steps: staged.steps,
            seconds: staged.seconds,
            has_state: staged.state.is_some(),
            reference: staged.reference.as_ref().map(|reference| reference.sequence),
        };
        let values = staged.reference.as_ref().map(|reference| bytes(&reference.values)).unwrap_or_default();
        write(&self.staged_file, &meta, &[staged.state.as_deref().unwrap_or_default(), &staged.frame, &values])?;
        self.staged = Some(staged);
        Ok(())
    }
}

fn staged(meta: StagedMeta, blobs: Vec<Vec<u8>>) -> Option<Staged> {
    let [state, frame, values] = <[Vec<u8>; 3]>::try_from(blobs).ok()?;
    Some(Staged {
        id: meta.id,
        round: meta.round,
        client: meta.client,
        tier: meta.tier,
        last_seen: meta.last_seen,
        upload: UploadHeader { examples: meta.examples, loss: meta.loss.map(f32::from_bits) },
        steps: meta.steps,
        seconds: meta.seconds,
        state: meta.has_state.then_some(state),
        frame,
        reference: meta.reference.map(|sequence| StoredReference { sequence, values: floats(&values) }),
    })
}

/// Writes magic, the JSON of `meta`, each blob, all with their lengths, and the hash of it all.
fn write<M: Serialize>(path: &Path, meta: &M, blobs: &[&[u8]]) -> Result<(), StoreError> {
    let meta = serde_json::json!(meta).to_string();
    let mut out = MAGIC.to_vec();
    for piece in [meta.as_bytes()].iter().chain(blobs) {
        out.extend_from_slice(&(piece.len() as u64).to_le_bytes());
        out.extend_from_slice(piece);
    }
    out.extend_from_slice(blake3::hash(&out).as_bytes());
    let part = path.with_extension("part");
    let written = File::create(&part).and_then(|mut file| {
        file.write_all(&out)?;
        file.sync_all()
    });
    let named = written.and_then(|()| fs::rename(&part, path));
    let parent = path.parent().unwrap_or(Path::new("."));
    named.and_then(|()| File::open(parent)?.sync_all()).map_err(of(path))
}

/// A file's head, and the bytes behind it.
type Parts<M> = (M, Vec<Vec<u8>>);

/// Reads such a file; none where there is none.
fn read<M: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<Parts<M>>, StoreError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(of(path)(source)),
    };
    let damaged = |reason| StoreError::Damaged { path: path.into(), reason };
    let (content, hash) = bytes.split_last_chunk::<HASH>().ok_or(damaged("it is cut off"))?;
    if blake3::hash(content).as_bytes() != hash {
        return Err(damaged("its hash is another"));
    }
    let mut rest = content.strip_prefix(MAGIC).ok_or(damaged("it is of another version"))?;
    let mut pieces = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<8>() {
        let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let (piece, after) = after.split_at_checked(length).ok_or(damaged("it is cut off"))?;
        pieces.push(piece.to_vec());
        rest = after;
    }
    if pieces.is_empty() {
        return Err(damaged("it is empty"));
    }
    let meta = serde_json::from_slice(&pieces.remove(0)).map_err(|_| damaged("its head cannot be read"))?;
    Ok(Some((meta, pieces)))
}

fn of(path: &Path) -> impl FnOnce(std::io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::File { path, source }
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn floats(bytes: &[u8]) -> Arc<Vec<f32>> {
    Arc::new(bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn staged() -> Staged {
        Staged {
            id: vec![1, 2],
            round: 3,
            client: 4,
            tier: 1,
            last_seen: Some(2),
            upload: UploadHeader { examples: 9, loss: Some(0.1) },
            steps: 5,
            seconds: 0.5,
            state: Some(Vec::new()),
            frame: vec![7; 100],
            reference: Some(StoredReference { sequence: 3, values: Arc::new(vec![0.5, -0.0, f32::MIN_POSITIVE]) }),
        }
    }

    #[test]
    fn what_was_staged_and_settled_is_there_after_a_restart_and_of_another_run_it_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path(), "r").unwrap();
        store.stage(staged()).unwrap();
        drop(store);
        let mut store = Store::open(dir.path(), "r").unwrap();
        assert_eq!(store.staged(), Some(&staged()));
        let references = [(1, staged().reference.unwrap())].into();
        let settled = Settled { round: 3, state: vec![1], references };
        store.settle(settled.clone()).unwrap();
        drop(store);
        let store = Store::open(dir.path(), "r").unwrap();
        assert_eq!((store.settled(), store.staged()), (&settled, None));
        drop(store);
        let other = Store::open(dir.path(), "other").unwrap();
        assert_eq!((other.settled(), other.staged()), (&Settled::default(), None));
    }

    #[test]
    fn two_processes_and_damaged_files_are_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path(), "r").unwrap();
        assert!(Store::open(dir.path(), "r").unwrap_err().to_string().contains("another process"));
        store.stage(staged()).unwrap();
        drop(store);
        let file = dir.path().join("staged");
        let whole = fs::read(&file).unwrap();
        for cut in [0, 10, whole.len() - 1] {
            fs::write(&file, &whole[..cut]).unwrap();
            let error = Store::open(dir.path(), "r").unwrap_err().to_string();
            assert!(error.contains("staged is damaged"), "{error}");
        }
    }
}
