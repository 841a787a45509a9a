//! What the server remembers beside its weights: its policies' memory, and the references of tracked downloads.

use std::sync::Arc;

use redb::{ReadableTable, TableDefinition};

use crate::journal::blobs::{self, BLOBS, Blob};
use crate::journal::{ClosedRound, StoredReference};

/// Tier to the number of the last broadcast in its reference.
pub(super) const REFERENCES: TableDefinition<u32, u32> = TableDefinition::new("references");

/// Writes what a closed round changed. A broadcast is written once, and goes when it is no longer kept.
pub(super) fn write(transaction: &redb::WriteTransaction, closed: &ClosedRound) -> Result<(), redb::Error> {
    let mut table = transaction.open_table(BLOBS)?;
    if closed.memory.is_empty() {
        blobs::remove(&mut table, Blob::Memory)?;
    } else {
        blobs::put_bytes(&mut table, Blob::Memory, &closed.memory)?;
    }
    let mut references = transaction.open_table(REFERENCES)?;
    for StoredReference { tier, sequence, values, kept } in &closed.references {
        references.insert(tier, sequence)?;
        blobs::put_values(&mut table, Blob::Reference(*tier), values)?;
        for (number, frame) in kept {
            let blob = Blob::Broadcast(*tier, *number);
            if !blobs::exists(&table, blob)? {
                blobs::put_bytes(&mut table, blob, frame)?;
            }
        }
        let oldest = kept.first().map_or(sequence.saturating_add(1), |(number, _)| *number);
        blobs::remove_broadcasts(&mut table, *tier, oldest)?;
    }
    Ok(())
}

/// Reads it back: the memory, then the references by tier.
pub(super) fn read(transaction: &redb::ReadTransaction) -> Result<(Vec<u8>, Vec<StoredReference>), redb::Error> {
    let table = transaction.open_table(BLOBS)?;
    let memory = blobs::get(&table, Blob::Memory)?.unwrap_or_default();
    let mut references = Vec::new();
    for row in transaction.open_table(REFERENCES)?.iter()? {
        let (tier, sequence) = row.map(|(tier, sequence)| (tier.value(), sequence.value()))?;
        let values = blobs::get(&table, Blob::Reference(tier))?.unwrap_or_default();
        let values = values.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let mut kept = Vec::new();
        for number in blobs::broadcasts(&table, tier)? {
            let frame = blobs::get(&table, Blob::Broadcast(tier, number))?.unwrap_or_default();
            kept.push((number, Arc::new(frame)));
        }
        references.push(StoredReference { tier, sequence, values: Arc::new(values), kept });
    }
    Ok((memory, references))
}
