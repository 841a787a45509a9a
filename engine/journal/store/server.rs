//! The server's state beside its weights: its policies' memories, and the references of tracked downloads.

use std::collections::BTreeMap;
use std::sync::Arc;

use redb::{ReadableTable, TableDefinition};

use crate::journal::blobs::{self, BLOBS, Blob};
use crate::journal::{ClosedRound, StoredReference};
use crate::wire::Frame;

/// Tier to the number of the last broadcast in its reference.
pub(super) const REFERENCES: TableDefinition<u32, u32> = TableDefinition::new("references");

/// The server's memories and references: a part's name to its number among the blobs. A round changes few of many
/// parts.
pub(super) const MEMORY: TableDefinition<&str, u32> = TableDefinition::new("memory");

/// Writes what a closed round changed. A broadcast is written once, and goes when it is no longer kept.
pub(super) fn write(transaction: &redb::WriteTransaction, closed: &ClosedRound) -> Result<(), redb::Error> {
    let mut table = transaction.open_table(BLOBS)?;
    let mut numbers = transaction.open_table(MEMORY)?;
    for (name, bytes) in &closed.memory {
        let known = numbers.get(name.as_str())?.map(|number| number.value());
        match known {
            Some(number) if bytes.is_empty() => {
                numbers.remove(name.as_str())?;
                blobs::remove(&mut table, Blob::Memory(number))?;
            }
            Some(number) => blobs::put_bytes(&mut table, Blob::Memory(number), bytes)?,
            None if bytes.is_empty() => {}
            None => {
                let number = free(&numbers)?;
                numbers.insert(name.as_str(), number)?;
                blobs::put_bytes(&mut table, Blob::Memory(number), bytes)?;
            }
        }
    }
    let mut references = transaction.open_table(REFERENCES)?;
    for StoredReference { tier, sequence, values, kept } in &closed.references {
        references.insert(tier, sequence)?;
        blobs::put_values(&mut table, Blob::Reference(*tier), values)?;
        for (number, frame) in kept {
            let blob = Blob::Broadcast(*tier, *number);
            if !blobs::exists(&table, blob)? {
                blobs::put_frame(&mut table, blob, frame)?;
            }
        }
        let oldest = kept.first().map_or(sequence.saturating_add(1), |(number, _)| *number);
        blobs::remove_broadcasts(&mut table, *tier, oldest)?;
    }
    Ok(())
}

/// A number that no part has.
fn free(numbers: &impl ReadableTable<&'static str, u32>) -> Result<u32, redb::Error> {
    let mut free = 0;
    for part in numbers.iter()? {
        free = free.max(part?.1.value() + 1);
    }
    Ok(free)
}

/// The result of [`read`]: the memories by names, then the references by tier.
type Remembered = (BTreeMap<String, Vec<u8>>, Vec<StoredReference>);

/// Reads it back.
pub(super) fn read(transaction: &redb::ReadTransaction) -> Result<Remembered, redb::Error> {
    let table = transaction.open_table(BLOBS)?;
    let mut memory = BTreeMap::new();
    for part in transaction.open_table(MEMORY)?.iter()? {
        let (name, number) = part.map(|(name, number)| (name.value().to_owned(), number.value()))?;
        memory.insert(name, blobs::get(&table, Blob::Memory(number))?.unwrap_or_default());
    }
    let mut references = Vec::new();
    for row in transaction.open_table(REFERENCES)?.iter()? {
        let (tier, sequence) = row.map(|(tier, sequence)| (tier.value(), sequence.value()))?;
        let (values, _) = blobs::get_values(&table, Blob::Reference(tier))?;
        let mut kept = Vec::new();
        for number in blobs::broadcasts(&table, tier)? {
            // What this build does not read is as if it were no longer kept.
            match Frame::read(blobs::get(&table, Blob::Broadcast(tier, number))?.unwrap_or_default()) {
                Ok(frame) => kept.push((number, frame)),
                Err(_) => kept.clear(),
            }
        }
        references.push(StoredReference { tier, sequence, values: Arc::new(values), kept });
    }
    Ok((memory, references))
}
