//! A policy's memory from round to round: one for each owner (a client, or the server) and policy.
//!
//! In: the entries as the last closed round left them. Out: the [`Changes`] that hooks made, for the owner to apply
//! when the round is closed or to throw away. Values are shared, never copied.

mod coding;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::error::Refusal;

pub use coding::DamagedMemory;

/// The longest key, bytes.
const KEY_BYTES: usize = 256;
/// Bytes charged for an entry beside its key and its values, so that many small entries count too.
const ENTRY_BYTES: u64 = 128;

/// Keys of the two kinds are apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryKind {
    /// A vector.
    Vector,
    /// Bytes.
    Bytes,
}

/// One thing remembered.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// From `save`.
    Vector(Arc<Vec<f32>>),
    /// From `save-bytes`.
    Bytes(Arc<Vec<u8>>),
}

impl Entry {
    /// The kind of the value.
    pub fn kind(&self) -> EntryKind {
        match self {
            Self::Vector(_) => EntryKind::Vector,
            Self::Bytes(_) => EntryKind::Bytes,
        }
    }

    /// True where both share one value.
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Vector(one), Self::Vector(other)) => Arc::ptr_eq(one, other),
            (Self::Bytes(one), Self::Bytes(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }

    fn bytes(&self) -> u64 {
        match self {
            Self::Vector(values) => size_of_val(values.as_slice()) as u64,
            Self::Bytes(bytes) => bytes.len() as u64,
        }
    }
}

type Key = (EntryKind, String);

fn cost(key: &Key, entry: &Entry) -> u64 {
    ENTRY_BYTES + key.1.len() as u64 + entry.bytes()
}

/// Everything that one owner remembers for one policy.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Entries(BTreeMap<Key, Entry>);

impl Entries {
    /// True where there is no entry.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The entry of this kind under this key.
    pub fn get(&self, kind: EntryKind, key: &str) -> Option<&Entry> {
        self.0.get(&(kind, key.to_owned()))
    }

    /// Puts an entry in, over one of the same kind and key.
    pub fn insert(&mut self, key: &str, entry: Entry) {
        self.0.insert((entry.kind(), key.to_owned()), entry);
    }

    /// Bytes that count against `limits.state_mb`.
    pub fn bytes(&self) -> u64 {
        self.0.iter().map(|(key, entry)| cost(key, entry)).sum()
    }

    /// The changes that make these of `before`. An entry that is still shared with it is known to be the same without a
    /// look at its values.
    pub fn since(&self, before: &Self) -> Changes {
        let gone = before.0.keys().filter(|key| !self.0.contains_key(*key)).map(|key| (key.clone(), None));
        let other = self.0.iter().filter(|(key, entry)| !before.0.get(*key).is_some_and(|old| old.is(entry)));
        Changes(gone.chain(other.map(|(key, entry)| (key.clone(), Some(entry.clone())))).collect())
    }
}

/// Writes of hooks: the new entry under each key, or none where a hook forgot it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Changes(BTreeMap<Key, Option<Entry>>);

impl Changes {
    /// True where nothing changed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These, and later ones over them.
    pub fn then(mut self, later: &Self) -> Self {
        self.0.extend(later.0.iter().map(|(key, entry)| (key.clone(), entry.clone())));
        self
    }

    /// Makes the changes.
    pub fn apply(&self, entries: &mut Entries) {
        for (key, entry) in &self.0 {
            match entry {
                Some(entry) => entries.0.insert(key.clone(), entry.clone()),
                None => entries.0.remove(key),
            };
        }
    }
}

/// A memory while hooks work on it. Reads see what was written before; the base stays as it is.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    base: Arc<Entries>,
    /// By calls that succeeded.
    written: Changes,
    /// By the call under way.
    pending: Changes,
    /// Bytes of what reads see, and of what they saw before the call under way.
    bytes: u64,
    settled_bytes: u64,
}

impl Memory {
    /// Nothing written yet. Costs one look at each entry.
    pub fn new(base: Arc<Entries>) -> Self {
        Self::over(base, Changes::default())
    }

    /// Goes on where an earlier memory over the same base left off.
    pub fn over(base: Arc<Entries>, written: Changes) -> Self {
        let replaced: u64 = written.0.keys().filter_map(|key| Some(cost(key, base.0.get(key)?))).sum();
        let added: u64 = written.0.iter().filter_map(|(key, entry)| Some(cost(key, entry.as_ref()?))).sum();
        let bytes = base.bytes() - replaced + added;
        Self { base, written, pending: Changes::default(), bytes, settled_bytes: bytes }
    }

    /// The writes of all calls that succeeded.
    pub fn written(&self) -> Changes {
        self.written.clone()
    }

    /// The entry that a hook would find under this key.
    pub fn get(&self, kind: EntryKind, key: &str) -> Option<&Entry> {
        let key = (kind, key.to_owned());
        match self.pending.0.get(&key) {
            Some(entry) => entry.as_ref(),
            None => self.before_the_call(&key),
        }
    }

    fn before_the_call(&self, key: &Key) -> Option<&Entry> {
        match self.written.0.get(key) {
            Some(entry) => entry.as_ref(),
            None => self.base.0.get(key),
        }
    }

    /// Remembers an entry. Memory that is over its limit already may still shrink.
    pub(super) fn save(&mut self, call: &str, key: &str, entry: Entry, limit: u64) -> Result<(), Refusal> {
        if key.len() > KEY_BYTES {
            let start = key[..key.floor_char_boundary(KEY_BYTES)].trim_end();
            return Err(Refusal::Misuse(format!("{call}: a key of {} bytes, limit {KEY_BYTES}: {start}", key.len())));
        }
        let old = self.get(entry.kind(), key).map_or(0, |old| ENTRY_BYTES + key.len() as u64 + old.bytes());
        let key = (entry.kind(), key.to_owned());
        let found = (self.bytes - old).saturating_add(cost(&key, &entry));
        if found > limit && found > self.bytes {
            return Err(Refusal::State { found, limit });
        }
        self.bytes = found;
        self.pending.0.insert(key, Some(entry));
        Ok(())
    }

    /// Forgets both entries under this key.
    pub(super) fn forget(&mut self, key: &str) {
        for kind in [EntryKind::Vector, EntryKind::Bytes] {
            let Some(old) = self.get(kind, key) else { continue };
            self.bytes -= ENTRY_BYTES + key.len() as u64 + old.bytes();
            let key = (kind, key.to_owned());
            // Only what is there needs a note that it is gone: notes are not counted, so they must not pile up.
            if self.before_the_call(&key).is_some() {
                self.pending.0.insert(key, None);
            } else {
                self.pending.0.remove(&key);
            }
        }
    }

    /// Keeps what the call under way wrote.
    pub(super) fn commit(&mut self) {
        for (key, entry) in std::mem::take(&mut self.pending.0) {
            if entry.is_some() || self.base.0.contains_key(&key) {
                self.written.0.insert(key, entry);
            } else {
                self.written.0.remove(&key);
            }
        }
        self.settled_bytes = self.bytes;
    }

    /// Drops what the call under way wrote.
    pub(super) fn roll_back(&mut self) {
        self.pending.0.clear();
        self.bytes = self.settled_bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(of: &[u8]) -> Entry {
        Entry::Bytes(Arc::new(of.to_vec()))
    }

    fn base() -> Arc<Entries> {
        let mut entries = Entries::default();
        entries.insert("old", Entry::Vector(Arc::new(vec![1.0, 2.0])));
        entries.insert("old", bytes(b"bytes"));
        Arc::new(entries)
    }

    #[test]
    fn a_call_that_fails_leaves_nothing_behind() {
        let mut memory = Memory::new(base());
        memory.save("save", "a", bytes(b"1"), 1000).unwrap();
        memory.commit();
        memory.save("save", "a", bytes(b"22"), 1000).unwrap();
        memory.forget("old");
        assert!(memory.get(EntryKind::Vector, "old").is_none());
        memory.roll_back();
        assert_eq!(memory.get(EntryKind::Bytes, "a"), Some(&bytes(b"1")));
        assert!(memory.get(EntryKind::Vector, "old").is_some());
        assert_eq!(memory.bytes, Memory::over(base(), memory.written()).bytes);
    }

    #[test]
    fn changes_make_of_the_base_what_reads_saw() {
        let mut memory = Memory::new(base());
        memory.save("save", "new", bytes(b"1"), 1000).unwrap();
        memory.forget("old");
        memory.commit();
        memory.save("save", "old", bytes(b"back"), 1000).unwrap();
        memory.forget("new");
        memory.commit();
        let mut entries = (*base()).clone();
        memory.written().apply(&mut entries);
        assert_eq!(entries.get(EntryKind::Bytes, "old"), Some(&bytes(b"back")));
        assert_eq!((entries.len(), memory.bytes), (1, entries.bytes()));
        assert_eq!(memory.written().0.len(), 2, "what came and went leaves no note");
    }

    #[test]
    fn only_what_is_no_longer_shared_is_a_change() {
        let before = base();
        let mut after = (*before).clone();
        assert!(after.since(&before).is_empty());
        after.insert("old", bytes(b"other"));
        after.insert("new", bytes(b"1"));
        let changes = after.since(&before);
        assert_eq!(changes.0.len(), 2);
        let back = before.since(&after);
        assert_eq!((back.0.len(), &back.0[&(EntryKind::Bytes, "new".into())]), (2, &None));
        let (mut made, mut undone) = ((*before).clone(), after.clone());
        changes.apply(&mut made);
        back.apply(&mut undone);
        assert_eq!((made, undone), (after, (*before).clone()));
    }

    #[test]
    fn the_limit_counts_keys_and_entries_and_lets_an_overfull_memory_shrink() {
        let mut memory = Memory::new(Arc::default());
        let refused = (0..100).find_map(|n| memory.save("save", &format!("{n:04}"), bytes(b""), 1320).err());
        assert!(matches!(refused, Some(Refusal::State { found: 1452, limit: 1320 })), "{refused:?}");
        memory.save("save", "0001", bytes(b"12345"), 2000).unwrap();
        memory.save("save", "0001", bytes(b"1"), 10).unwrap();
        assert!(memory.save("save", "0001", bytes(b"12"), 10).is_err());
        assert!(memory.save("save", &"k".repeat(257), bytes(b""), 1000).is_err());
    }
}
