//! Memories as bytes, for the journal: entries or changes in, bytes out, and back. Any bytes give a value or an error.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version of this format |
//! | 4 | number of items |
//! | an item | 1: kind (0 vector, 1 bytes, 2 forgotten vector, 3 forgotten bytes); 4 and then the key; 8 and then the payload |
//! | 8 | xxh3-64 of everything before it |
//!
//! All numbers little endian; items in the order of their keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use super::{Changes, Entries, Entry, EntryKind, Key};

const VERSION: u8 = 1;

/// Bytes that are no memory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a policy's memory is damaged: {reason}")]
pub struct DamagedMemory {
    reason: String,
}

fn damaged(reason: impl Into<String>) -> DamagedMemory {
    DamagedMemory { reason: reason.into() }
}

impl Entries {
    /// For the journal.
    pub fn to_bytes(&self) -> Vec<u8> {
        write(self.0.iter().map(|(key, entry)| (key, Some(entry))))
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    /// When these are not exactly the bytes of entries.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DamagedMemory> {
        let items = read(bytes)?.into_iter();
        let kept = items.map(|(key, entry)| entry.map(|entry| (key, entry)));
        kept.collect::<Option<_>>().map(Self).ok_or_else(|| damaged("a forgotten entry among entries"))
    }
}

impl Entries {
    /// Puts in the entry that is [alone](Changes::alone) in `bytes`, and says what it is called.
    ///
    /// # Errors
    /// When these are not exactly the bytes of one entry.
    pub fn take_in(&mut self, bytes: &[u8]) -> Result<String, DamagedMemory> {
        let entries = Self::from_bytes(bytes)?.0;
        let found = entries.len();
        let one = entries.into_iter().next().filter(|_| found == 1);
        let (key, entry) = one.ok_or_else(|| damaged(format!("{found} entries, 1 expected")))?;
        let name = name(&key);
        self.0.insert(key, entry);
        Ok(name)
    }
}

impl Changes {
    /// Each by itself, for the journal: a name that no other has, and the bytes; none for what was forgotten.
    pub fn alone(&self) -> impl Iterator<Item = (String, Vec<u8>)> {
        self.0.iter().map(|(key, entry)| {
            let bytes = entry.as_ref().map(|entry| write(std::iter::once((key, Some(entry)))));
            (name(key), bytes.unwrap_or_default())
        })
    }

    /// For the journal.
    pub fn to_bytes(&self) -> Vec<u8> {
        write(self.0.iter().map(|(key, entry)| (key, entry.as_ref())))
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    /// When these are not exactly the bytes of changes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DamagedMemory> {
        read(bytes).map(Self)
    }
}

fn name((kind, key): &Key) -> String {
    match kind {
        EntryKind::Vector => format!("vector {key}"),
        EntryKind::Bytes => format!("bytes {key}"),
    }
}

fn write<'a>(items: impl ExactSizeIterator<Item = (&'a Key, Option<&'a Entry>)>) -> Vec<u8> {
    let mut out = vec![VERSION];
    out.extend_from_slice(&(items.len() as u32).to_le_bytes());
    for ((kind, key), entry) in items {
        let kind = u8::from(*kind == EntryKind::Bytes);
        out.push(if entry.is_some() { kind } else { kind + 2 });
        out.extend_from_slice(&(key.len() as u32).to_le_bytes());
        out.extend_from_slice(key.as_bytes());
        match entry {
            Some(Entry::Vector(values)) => {
                out.extend_from_slice(&(size_of_val(values.as_slice()) as u64).to_le_bytes());
                out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            }
            Some(Entry::Bytes(bytes)) => {
                out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
                out.extend_from_slice(bytes);
            }
            None => {}
        }
    }
    out.extend_from_slice(&xxh3_64(&out).to_le_bytes());
    out
}

fn read(bytes: &[u8]) -> Result<BTreeMap<Key, Option<Entry>>, DamagedMemory> {
    let (mut rest, checksum) =
        bytes.split_last_chunk().ok_or_else(|| damaged(format!("{} bytes, at least 13 expected", bytes.len())))?;
    let (found, computed) = (u64::from_le_bytes(*checksum), xxh3_64(rest));
    if found != computed {
        return Err(damaged(format!("its checksum is {found:016x}, its bytes give {computed:016x}")));
    }
    let [version] = array(&mut rest)?;
    if version != VERSION {
        return Err(damaged(format!("format version {version}, this build reads version {VERSION}")));
    }
    let count = u32::from_le_bytes(array(&mut rest)?);
    let mut items = BTreeMap::new();
    for _ in 0..count {
        let (key, entry) = item(&mut rest)?;
        if items.last_key_value().is_some_and(|(last, _)| *last >= key) {
            return Err(damaged(format!("key {} does not follow the one before it", key.1)));
        }
        items.insert(key, entry);
    }
    if rest.is_empty() { Ok(items) } else { Err(damaged(format!("{} bytes follow the last entry", rest.len()))) }
}

fn item(rest: &mut &[u8]) -> Result<(Key, Option<Entry>), DamagedMemory> {
    let [tag] = array(rest)?;
    let len = u32::from_le_bytes(array(rest)?);
    let key = str::from_utf8(take(rest, u64::from(len))?).map_err(|error| damaged(format!("a key: {error}")))?;
    let mut payload = || {
        let len = u64::from_le_bytes(array(rest)?);
        take(rest, len)
    };
    let (kind, entry) = match tag {
        0 => {
            let payload = payload()?;
            let (values, tail) = payload.as_chunks();
            if !tail.is_empty() {
                return Err(damaged(format!("a vector of {} bytes, not a multiple of 4", payload.len())));
            }
            let values = values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
            (EntryKind::Vector, Some(Entry::Vector(Arc::new(values))))
        }
        1 => (EntryKind::Bytes, Some(Entry::Bytes(Arc::new(payload()?.to_vec())))),
        2 => (EntryKind::Vector, None),
        3 => (EntryKind::Bytes, None),
        found => return Err(damaged(format!("an entry of kind {found}, expected 0 to 3"))),
    };
    Ok(((kind, key.to_owned()), entry))
}

fn array<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], DamagedMemory> {
    let mut array = [0; N];
    array.copy_from_slice(take(rest, N as u64)?);
    Ok(array)
}

fn take<'a>(rest: &mut &'a [u8], bytes: u64) -> Result<&'a [u8], DamagedMemory> {
    let cut = usize::try_from(bytes).ok().and_then(|bytes| rest.split_at_checked(bytes));
    let (head, tail) = cut.ok_or_else(|| damaged(format!("cut off: {bytes} bytes needed, {} left", rest.len())))?;
    *rest = tail;
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::super::Memory;
    use super::*;

    fn changes() -> Changes {
        let mut base = Entries::default();
        base.insert("gone", Entry::Vector(Arc::new(vec![1.0])));
        base.insert("gone", Entry::Bytes(Arc::new(vec![1])));
        let mut memory = Memory::new(Arc::new(base));
        memory.forget("gone");
        memory.save("save", "residual", Entry::Vector(Arc::new(vec![1.5, f32::NEG_INFINITY])), 1 << 20).unwrap();
        memory.save("save", "", Entry::Bytes(Arc::new(vec![])), 1 << 20).unwrap();
        memory.commit();
        memory.written()
    }

    #[test]
    fn changes_and_entries_come_back() {
        let changes = changes();
        assert_eq!(Changes::from_bytes(&changes.to_bytes()), Ok(changes.clone()));
        let mut entries = Entries::default();
        changes.apply(&mut entries);
        assert_eq!(Entries::from_bytes(&entries.to_bytes()), Ok(entries));
        assert!(Entries::from_bytes(&changes.to_bytes()).is_err());
    }

    #[test]
    fn entries_come_back_one_by_one_under_names_of_their_own() {
        let changes = changes();
        let alone: Vec<(String, Vec<u8>)> = changes.alone().collect();
        let names: Vec<&str> = alone.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["vector gone", "vector residual", "bytes ", "bytes gone"]);
        let (mut expected, mut entries) = (Entries::default(), Entries::default());
        changes.apply(&mut expected);
        for (name, bytes) in alone.iter().filter(|(_, bytes)| !bytes.is_empty()) {
            assert_eq!(entries.take_in(bytes).as_ref(), Ok(name));
        }
        assert_eq!(entries, expected);
        let error = |of: &Entries| Entries::default().take_in(&of.to_bytes()).unwrap_err().to_string();
        assert_eq!(error(&expected), "a policy's memory is damaged: 2 entries, 1 expected");
        assert_eq!(error(&Entries::default()), "a policy's memory is damaged: 0 entries, 1 expected");
    }

    #[test]
    fn the_bytes_are_golden() {
        let mut entries = Entries::default();
        entries.insert("k", Entry::Vector(Arc::new(vec![1.0])));
        entries.insert("k", Entry::Bytes(Arc::new(vec![7])));
        let hex: String = entries.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(
            hex.starts_with("010200000000010000006b04000000000000000000803f01010000006b010000000000000007"),
            "{hex}"
        );
    }

    #[test]
    fn every_flipped_bit_every_cut_and_every_lie_is_an_error() {
        let bytes = changes().to_bytes();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Changes::from_bytes(&damaged).is_err(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(Changes::from_bytes(&bytes[..len]).is_err(), "length {len}");
        }
        let body = &bytes[..bytes.len() - 8];
        for at in 0..body.len() {
            let mut lie = body.to_vec();
            lie[at] ^= 0x80;
            lie.extend_from_slice(&xxh3_64(&lie).to_le_bytes());
            // Behind a good checksum a lie may be another memory, but it never panics.
            let _ = Changes::from_bytes(&lie);
        }
    }
}
