//! The memories of one owner, a client or the server, for all policies of a run: one for each policy's name, so that
//! both directions and the aggregator share one where they run the same policy.
//!
//! In: the memories that the last closed round left. Out: memories to call hooks with, and the bytes for the journal.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::policy::{Changes, DamagedMemory, Entries, Memory};

/// Bytes that are no owner's memories.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DamagedMemories {
    /// A policy's memory is damaged.
    #[error("policy {policy}: {source}")]
    Policy {
        /// The policy.
        policy: String,
        /// The fault of the stored bytes.
        source: DamagedMemory,
    },
    /// A part has another part's bytes.
    #[error("{name} in the journal has the bytes of {found}")]
    Name {
        /// The policy's name in the journal.
        name: String,
        /// The name in the bytes.
        found: String,
    },
    /// The bytes around them are.
    #[error("the memories are cut off: {needed} bytes needed, {found} left")]
    Cut {
        /// Bytes that should follow.
        needed: u64,
        /// Bytes that do.
        found: usize,
    },
}

#[derive(Debug, Clone, Default)]
struct Kept {
    base: Arc<Entries>,
    memory: Memory,
}

impl Kept {
    fn new(base: Arc<Entries>) -> Self {
        Self { memory: Memory::new(base.clone()), base }
    }
}

/// Everything that one owner remembers. Cheap to clone: what is remembered is shared.
#[derive(Debug, Clone, Default)]
pub struct Memories(BTreeMap<String, Kept>);

impl Memories {
    /// The memory for a policy, to call a hook with.
    pub fn of(&self, policy: &str) -> Memory {
        self.0.get(policy).map(|kept| kept.memory.clone()).unwrap_or_default()
    }

    /// Keeps a memory that came from [`of`](Self::of), with what hooks wrote.
    pub fn keep(&mut self, policy: &str, memory: Memory) {
        match self.0.get_mut(policy) {
            Some(kept) => kept.memory = memory,
            None => drop(self.0.insert(policy.to_owned(), Kept { base: Arc::default(), memory })),
        }
    }

    /// Makes changes that were made to a copy of the memory for a policy, over those made here since.
    pub fn merge(&mut self, policy: &str, changes: &Changes) {
        let kept = self.0.entry(policy.to_owned()).or_default();
        kept.memory = Memory::over(kept.base.clone(), kept.memory.written().then(changes));
    }

    /// True where hooks wrote anything since the last closed round.
    pub fn changed(&self) -> bool {
        self.0.values().any(|kept| !kept.memory.written().is_empty())
    }

    /// With all changes made, as the next round finds it.
    pub fn settled(&self) -> Self {
        let settled = self.0.iter().map(|(policy, kept)| (policy.clone(), settle(kept)));
        Self(settled.filter(|(_, kept)| !kept.base.is_empty()).collect())
    }

    /// The memories that differ from `before`, by names for the journal, with all changes made; no bytes for a memory
    /// that is gone. Costs nothing for values that are the same.
    pub fn since(&self, before: &Self) -> BTreeMap<String, Vec<u8>> {
        let (now, before) = (self.settled().0, before.settled().0);
        let none = Kept::default();
        let policies: BTreeSet<&String> = now.keys().chain(before.keys()).collect();
        let mut all = BTreeMap::new();
        for policy in policies {
            let [now, before] = [&now, &before].map(|of| &of.get(policy).unwrap_or(&none).base);
            let named = |(name, bytes)| (format!("{policy}/{name}"), bytes);
            all.extend(now.since(before).alone().map(named));
        }
        all
    }

    /// Everything of which [`since`](Self::since) gave the bytes.
    ///
    /// # Errors
    /// When bytes are not what their name says.
    pub fn of_parts(parts: &BTreeMap<String, Vec<u8>>) -> Result<Self, DamagedMemories> {
        let mut entries: BTreeMap<String, Entries> = BTreeMap::new();
        for (name, bytes) in parts {
            let (policy, expected) = name.split_once('/').unwrap_or_default();
            let found = entries.entry(policy.to_owned()).or_default().take_in(bytes);
            let found = found.map_err(|source| DamagedMemories::Policy { policy: policy.to_owned(), source })?;
            if found != expected {
                return Err(DamagedMemories::Name { name: name.clone(), found });
            }
        }
        let kept = entries.into_iter().map(|(policy, entries)| (policy, Kept::new(Arc::new(entries))));
        Ok(Self(kept.collect()))
    }

    /// All of it in one, with all changes made; empty where nothing is remembered.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (policy, kept) in self.settled().0 {
            let entries = kept.base.to_bytes();
            out.extend_from_slice(&(policy.len() as u32).to_le_bytes());
            out.extend_from_slice(policy.as_bytes());
            out.extend_from_slice(&(entries.len() as u64).to_le_bytes());
            out.extend_from_slice(&entries);
        }
        out
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    /// When these are not exactly the bytes of memories.
    pub fn from_bytes(mut bytes: &[u8]) -> Result<Self, DamagedMemories> {
        let mut memories = BTreeMap::new();
        while !bytes.is_empty() {
            let name = u64::from(u32::from_le_bytes(array(&mut bytes)?));
            let policy = String::from_utf8_lossy(take(&mut bytes, name)?).into_owned();
            let entries = u64::from_le_bytes(array(&mut bytes)?);
            let entries = Entries::from_bytes(take(&mut bytes, entries)?);
            let base = entries.map_err(|source| DamagedMemories::Policy { policy: policy.clone(), source })?;
            memories.insert(policy, Kept::new(Arc::new(base)));
        }
        Ok(Self(memories))
    }
}

fn settle(kept: &Kept) -> Kept {
    let written = kept.memory.written();
    if written.is_empty() {
        return kept.clone();
    }
    let mut entries = (*kept.base).clone();
    written.apply(&mut entries);
    Kept::new(Arc::new(entries))
}

fn array<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], DamagedMemories> {
    let mut array = [0; N];
    array.copy_from_slice(take(rest, N as u64)?);
    Ok(array)
}

fn take<'a>(rest: &mut &'a [u8], needed: u64) -> Result<&'a [u8], DamagedMemories> {
    let cut = usize::try_from(needed).ok().and_then(|needed| rest.split_at_checked(needed));
    let (head, tail) = cut.ok_or(DamagedMemories::Cut { needed, found: rest.len() })?;
    *rest = tail;
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Entry, EntryKind};

    fn entries(of: &[(&str, f32)]) -> Arc<Entries> {
        let mut entries = Entries::default();
        of.iter().for_each(|(key, value)| entries.insert(key, Entry::Vector(Arc::new(vec![*value]))));
        Arc::new(entries)
    }

    /// The writes that a hook would have made.
    fn changes(of: &[(&str, f32)]) -> Changes {
        Changes::from_bytes(&entries(of).to_bytes()).unwrap()
    }

    fn value(memories: &Memories, policy: &str, key: &str) -> Option<f32> {
        match memories.of(policy).get(EntryKind::Vector, key) {
            Some(Entry::Vector(values)) => Some(values[0]),
            _ => None,
        }
    }

    #[test]
    fn memories_come_back_from_their_bytes_with_all_changes_made() {
        let mut memories = Memories::default();
        assert!(memories.to_bytes().is_empty() && !memories.changed());
        memories.merge("one", &changes(&[("a", 1.0), ("b", 2.0)]));
        memories.merge("two", &changes(&[("a", 3.0)]));
        assert!(memories.changed());
        let again = Memories::from_bytes(&memories.to_bytes()).unwrap();
        assert!(!again.changed());
        assert_eq!(
            [value(&again, "one", "b"), value(&again, "two", "a"), value(&again, "two", "b")],
            [Some(2.0), Some(3.0), None]
        );
        assert_eq!(again.to_bytes(), memories.to_bytes());
        assert_eq!(memories.settled().to_bytes(), memories.to_bytes());
    }

    #[test]
    fn memories_come_back_from_the_parts_of_every_round() {
        let mut stored = BTreeMap::new();
        let mut store = |memories: &Memories, before: &Memories| {
            let parts = memories.since(before);
            let names: Vec<String> = parts.keys().cloned().collect();
            stored.extend(parts);
            stored.retain(|_, bytes: &mut Vec<u8>| !bytes.is_empty());
            let again = Memories::of_parts(&stored).unwrap();
            assert_eq!(again.to_bytes(), memories.to_bytes());
            assert!(!again.changed());
            names
        };
        let mut first = Memories::default();
        first.merge("one", &changes(&[("a", 1.0), ("b", 2.0)]));
        first.merge("two", &changes(&[("a/b", 3.0)]));
        assert_eq!(store(&first, &Memories::default()), ["one/vector a", "one/vector b", "two/vector a/b"]);
        let mut second = first.settled();
        assert_eq!(store(&second, &first.settled()), [""; 0]);
        second.merge("one", &changes(&[("b", 4.0)]));
        assert_eq!(store(&second, &first.settled()), ["one/vector b"]);
        let mut third = second.settled();
        third.0.remove("two");
        assert_eq!(store(&third, &second), ["two/vector a/b"]);
    }

    #[test]
    fn parts_that_are_not_what_they_are_called_are_an_error() {
        let mut memories = Memories::default();
        memories.merge("p", &changes(&[("a", 1.0)]));
        let bytes = memories.since(&Memories::default()).remove("p/vector a").unwrap();
        let error = |name: &str, bytes: &[u8]| {
            Memories::of_parts(&BTreeMap::from([(name.to_owned(), bytes.to_vec())])).unwrap_err().to_string()
        };
        assert_eq!(error("p/vector b", &bytes), "p/vector b in the journal has the bytes of vector a");
        assert!(error("p/vector a", &bytes[1..]).starts_with("policy p: a policy's memory is damaged"));
    }

    #[test]
    fn later_changes_go_over_earlier_ones_and_others_stay() {
        let base = Memories::from_bytes(&{
            let mut memories = Memories::default();
            memories.merge("p", &changes(&[("a", 1.0), ("b", 1.0), ("c", 1.0)]));
            memories.to_bytes()
        });
        let mut memories = base.unwrap();
        memories.merge("p", &changes(&[("b", 2.0), ("c", 2.0)]));
        memories.merge("p", &changes(&[("c", 3.0)]));
        assert_eq!(["a", "b", "c"].map(|key| value(&memories, "p", key)), [Some(1.0), Some(2.0), Some(3.0)]);
    }

    #[test]
    fn every_cut_is_an_error() {
        let mut memories = Memories::default();
        memories.merge("policy", &changes(&[("a", 1.0)]));
        let bytes = memories.to_bytes();
        for len in 1..bytes.len() {
            assert!(Memories::from_bytes(&bytes[..len]).is_err(), "length {len}");
        }
        let error = Memories::from_bytes(&bytes[..bytes.len() - 1]).unwrap_err().to_string();
        assert!(error.starts_with("the memories are cut off"), "{error}");
    }
}
