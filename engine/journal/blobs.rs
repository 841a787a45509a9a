//! Long byte strings in the database, cut into pieces: a name and bytes in, the bytes out.
//!
//! redb gives a value a run of pages whose number is a power of two, so that one of 1.1 MB would take 2 MB of memory,
//! writing and disk. A piece just below 64 KiB fills its run.

use redb::{ReadableTable, Table, TableDefinition};

use super::StoredOptimizer;
use crate::wire::Frame;

/// Pieces by name and number.
pub(super) const BLOBS: TableDefinition<(u32, u32, u32, u32), &[u8]> = TableDefinition::new("blobs");

/// Bytes of a piece: 64 KiB less what redb and the key add. A multiple of 4, so that no f32 is cut.
const PIECE: usize = (64 << 10) - 64;

type BlobTable<'a> = Table<'a, (u32, u32, u32, u32), &'static [u8]>;

/// The name of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blob {
    /// The adapter after the newest closed round.
    Weights,
    /// The server optimizer's state.
    Optimizer,
    /// The running mean.
    Mean,
    /// The frame at (round, position).
    Frame(u32, u32),
    /// The part of so-and-so number of what the server remembers.
    Memory(u32),
    /// The reference of a tier.
    Reference(u32),
    /// A tier's broadcast number so-and-so.
    Broadcast(u32, u32),
    /// A client's state after its work at (round, position).
    State(u32, u32),
    /// The same after it was told how its upload ended.
    Settled(u32, u32),
}

impl Blob {
    fn key(self, piece: u32) -> (u32, u32, u32, u32) {
        match self {
            Self::Weights => (1, 0, 0, piece),
            Self::Optimizer => (2, 0, 0, piece),
            Self::Mean => (3, 0, 0, piece),
            Self::Frame(round, position) => (4, round, position, piece),
            Self::Memory(number) => (5, number, 0, piece),
            Self::Reference(tier) => (6, tier, 0, piece),
            Self::Broadcast(tier, sequence) => (7, tier, sequence, piece),
            Self::State(round, position) => (8, round, position, piece),
            Self::Settled(round, position) => (9, round, position, piece),
        }
    }
}

/// Stores `length` bytes under a name, in place of what was there. `fill` writes the bytes from an offset on.
pub(super) fn put(
    table: &mut BlobTable<'_>,
    blob: Blob,
    length: usize,
    mut fill: impl FnMut(usize, &mut [u8]),
) -> Result<(), redb::Error> {
    // A blob of no bytes has one empty piece, so that it exists.
    let pieces = length.div_ceil(PIECE).max(1);
    for piece in 0..pieces {
        let start = piece * PIECE;
        let mut value = table.insert_reserve(blob.key(piece as u32), PIECE.min(length - start))?;
        fill(start, value.as_mut());
    }
    table.retain_in(blob.key(pieces as u32)..=blob.key(u32::MAX), |_, _| false)?;
    Ok(())
}

/// Stores bytes under a name, in place of what was there.
pub(super) fn put_bytes(table: &mut BlobTable<'_>, blob: Blob, bytes: &[u8]) -> Result<(), redb::Error> {
    put(table, blob, bytes.len(), |start, piece| piece.copy_from_slice(&bytes[start..start + piece.len()]))
}

/// Stores a frame under a name, in place of what was there.
pub(super) fn put_frame(table: &mut BlobTable<'_>, blob: Blob, frame: &Frame) -> Result<(), redb::Error> {
    put(table, blob, frame.len(), |start, piece| frame.copy(start, piece))
}

/// Stores values under a name, four bytes each, little endian, in place of what was there.
pub(super) fn put_values(table: &mut BlobTable<'_>, blob: Blob, values: &[f32]) -> Result<(), redb::Error> {
    put(table, blob, values.len() * 4, |start, piece| {
        for (to, from) in piece.as_chunks_mut().0.iter_mut().zip(&values[start / 4..]) {
            *to = from.to_le_bytes();
        }
    })
}

/// Stores an optimizer's state under a name: its steps, then its moments, four bytes each, in place of what was there.
pub(super) fn put_optimizer(table: &mut BlobTable<'_>, blob: Blob, state: &StoredOptimizer) -> Result<(), redb::Error> {
    put(table, blob, 4 + state.moments.len() * 4, |start, piece| {
        let (words, first) = (piece.as_chunks_mut().0, start / 4);
        let (front, rest) = words.split_at_mut(usize::from(first == 0));
        front.iter_mut().for_each(|steps| *steps = state.steps.to_le_bytes());
        for (to, from) in rest.iter_mut().zip(&state.moments[first.saturating_sub(1)..]) {
            *to = from.to_le_bytes();
        }
    })
}

/// Reads it back.
pub(super) fn get_optimizer(
    table: &impl ReadableTable<(u32, u32, u32, u32), &'static [u8]>,
    blob: Blob,
) -> Result<StoredOptimizer, redb::Error> {
    let (mut steps, mut moments) = (None, Vec::new());
    for piece in table.range(blob.key(0)..=blob.key(u32::MAX))? {
        let piece = piece?.1;
        let mut words = piece.value().as_chunks().0.iter();
        steps = steps.or_else(|| words.next().map(|word| u32::from_le_bytes(*word)));
        moments.extend(words.map(|word| f32::from_le_bytes(*word)));
    }
    Ok(StoredOptimizer { steps: steps.unwrap_or(0), moments: moments.into() })
}

/// The values under a name, which end where four bytes are not whole; and how many bytes there are.
pub(super) fn get_values(
    table: &impl ReadableTable<(u32, u32, u32, u32), &'static [u8]>,
    blob: Blob,
) -> Result<(Vec<f32>, usize), redb::Error> {
    let (mut values, mut bytes) = (Vec::new(), 0);
    for piece in table.range(blob.key(0)..=blob.key(u32::MAX))? {
        let piece = piece?.1;
        bytes += piece.value().len();
        values.extend(piece.value().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)));
    }
    Ok((values, bytes))
}

/// The bytes under a name.
pub(super) fn get(
    table: &impl ReadableTable<(u32, u32, u32, u32), &'static [u8]>,
    blob: Blob,
) -> Result<Option<Vec<u8>>, redb::Error> {
    let mut bytes = None;
    for piece in table.range(blob.key(0)..=blob.key(u32::MAX))? {
        bytes.get_or_insert_with(Vec::new).extend_from_slice(piece?.1.value());
    }
    Ok(bytes)
}

/// True where there is a blob of that name.
pub(super) fn exists(
    table: &impl ReadableTable<(u32, u32, u32, u32), &'static [u8]>,
    blob: Blob,
) -> Result<bool, redb::Error> {
    Ok(table.get(blob.key(0))?.is_some())
}

/// True where a client's state was staged in a round.
pub(super) fn any_state(
    table: &impl ReadableTable<(u32, u32, u32, u32), &'static [u8]>,
    round: u32,
) -> Result<bool, redb::Error> {
    let states = table.range(Blob::State(round, 0).key(0)..=Blob::State(round, u32::MAX).key(u32::MAX))?.next();
    let settled = table.range(Blob::Settled(round, 0).key(0)..=Blob::Settled(round, u32::MAX).key(u32::MAX))?.next();
    Ok(states.is_some() || settled.is_some())
}

/// Removes the blob of that name, where there is one.
pub(super) fn remove(table: &mut BlobTable<'_>, blob: Blob) -> Result<(), redb::Error> {
    Ok(table.retain_in(blob.key(0)..=blob.key(u32::MAX), |_, _| false)?)
}

/// The numbers of a tier's broadcasts, ascending.
pub(super) fn broadcasts(
    table: &impl ReadableTable<(u32, u32, u32, u32), &'static [u8]>,
    tier: u32,
) -> Result<Vec<u32>, redb::Error> {
    let mut numbers = Vec::new();
    for piece in table.range(Blob::Broadcast(tier, 0).key(0)..=Blob::Broadcast(tier, u32::MAX).key(u32::MAX))? {
        let (_, _, number, piece) = piece?.0.value();
        if piece == 0 {
            numbers.push(number);
        }
    }
    Ok(numbers)
}

/// Removes the broadcasts of a tier before number `oldest`.
pub(super) fn remove_broadcasts(table: &mut BlobTable<'_>, tier: u32, oldest: u32) -> Result<(), redb::Error> {
    Ok(table.retain_in(Blob::Broadcast(tier, 0).key(0)..Blob::Broadcast(tier, oldest).key(0), |_, _| false)?)
}

/// Removes what clients remember of a round, but for those that `keeps` names.
pub(super) fn remove_states(
    table: &mut BlobTable<'_>,
    round: u32,
    keeps: impl Fn(Blob) -> bool,
) -> Result<(), redb::Error> {
    for (first, last, name) in [
        (Blob::State(round, 0), Blob::State(round, u32::MAX), Blob::State as fn(u32, u32) -> Blob),
        (Blob::Settled(round, 0), Blob::Settled(round, u32::MAX), Blob::Settled),
    ] {
        table
            .retain_in(first.key(0)..=last.key(u32::MAX), |(_, round, position, _), _| keeps(name(round, position)))?;
    }
    Ok(())
}

/// Removes the frames of a round and of all rounds before it.
pub(super) fn remove_frames(table: &mut BlobTable<'_>, last_round: u32) -> Result<(), redb::Error> {
    let frames = Blob::Frame(0, 0).key(0)..=Blob::Frame(last_round, u32::MAX).key(u32::MAX);
    Ok(table.retain_in(frames, |_, _| false)?)
}

#[cfg(test)]
mod tests {
    use redb::backends::InMemoryBackend;
    use redb::{Database, ReadableTableMetadata};

    use super::*;

    #[test]
    fn blobs_of_every_length_come_back_and_a_shorter_one_leaves_nothing_behind() {
        let database = Database::builder().create_with_backend(InMemoryBackend::new()).unwrap();
        let transaction = database.begin_write().unwrap();
        let mut table = transaction.open_table(BLOBS).unwrap();
        for length in [3 * PIECE + 1, 3 * PIECE, PIECE + 1, PIECE, 1, 0] {
            let bytes: Vec<u8> = (0..length).map(|at| (at / 7) as u8).collect();
            for blob in [Blob::Memory(3), Blob::Frame(1, 2)] {
                put_bytes(&mut table, blob, &bytes).unwrap();
                assert_eq!(get(&table, blob).unwrap().as_deref(), Some(&bytes[..]));
            }
            assert_eq!(table.len().unwrap(), 2 * length.div_ceil(PIECE).max(1) as u64);
        }
        assert_eq!(get(&table, Blob::State(1, 2)).unwrap(), None);
    }

    #[test]
    fn states_and_broadcasts_go_by_their_round_and_number() {
        let database = Database::builder().create_with_backend(InMemoryBackend::new()).unwrap();
        let transaction = database.begin_write().unwrap();
        let mut table = transaction.open_table(BLOBS).unwrap();
        let states = [Blob::State(1, 0), Blob::State(2, 0), Blob::State(2, 9), Blob::Settled(2, 9), Blob::State(3, 0)];
        let sent = [Blob::Broadcast(0, 1), Blob::Broadcast(0, 2), Blob::Broadcast(1, 1), Blob::Broadcast(1, 7)];
        for blob in states.into_iter().chain(sent) {
            put_bytes(&mut table, blob, &[1; 2 * PIECE]).unwrap();
        }
        remove_states(&mut table, 2, |blob| blob == Blob::Settled(2, 9)).unwrap();
        remove_broadcasts(&mut table, 0, 2).unwrap();
        let there: Vec<bool> = states.into_iter().map(|blob| exists(&table, blob).unwrap()).collect();
        assert_eq!(there, [true, false, false, true, true]);
        assert_eq!((broadcasts(&table, 0).unwrap(), broadcasts(&table, 1).unwrap()), (vec![2], vec![1, 7]));
        remove(&mut table, Blob::State(3, 0)).unwrap();
        assert!(!exists(&table, Blob::State(3, 0)).unwrap());
    }

    #[test]
    fn only_frames_of_closed_rounds_are_removed() {
        let database = Database::builder().create_with_backend(InMemoryBackend::new()).unwrap();
        let transaction = database.begin_write().unwrap();
        let mut table = transaction.open_table(BLOBS).unwrap();
        let kept = [Blob::Weights, Blob::Optimizer, Blob::Frame(3, 0), Blob::Memory(0), Blob::State(1, 1)];
        let removed = [Blob::Frame(0, 0), Blob::Frame(2, u32::MAX)];
        for blob in kept.into_iter().chain(removed) {
            put_values(&mut table, blob, &[1.0, -2.0]).unwrap();
        }
        remove_frames(&mut table, 2).unwrap();
        let there = |blob: Blob| get(&table, blob).unwrap().is_some();
        assert!(kept.into_iter().all(there));
        assert!(!removed.into_iter().any(there));
    }
}
