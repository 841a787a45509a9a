//! The clients' states: the round in which each last took part, and the state that it had then.
//!
//! A client's state is written once, at the place of the round in which it was made; closing the round points the client
//! to it, or removes it. So a round's states pass through one at a time, whatever the size of the cohort.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use redb::{ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};

use super::Journal;
use crate::journal::blobs::{self, BLOBS, Blob};
use crate::journal::{JournalError, Verdict};

/// Client to: the last round that has it (0 where none does), then where its state lies: which blob (0 none, 1 `State`, 2
/// `Settled`), its round, its position.
pub(super) const CLIENTS: TableDefinition<u32, (u32, u8, u32, u32)> = TableDefinition::new("clients");

impl Journal {
    /// The last round whose aggregate has an update of this client; none where no round has.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn last_seen(&self, client: u32) -> Result<Option<u32>, JournalError> {
        self.read(|transaction| {
            let seen = transaction.open_table(CLIENTS)?.get(client)?.map(|row| row.value().0);
            Ok(seen.filter(|round| *round > 0))
        })
    }

    /// False where no client has a state. Costs nothing: a run in which none has need not look for it.
    pub fn remembers_clients(&self) -> bool {
        self.remembers_clients.load(Ordering::Relaxed)
    }

    /// A client's state since the last round that closed with it.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn client_state(&self, client: u32) -> Result<Option<Vec<u8>>, JournalError> {
        if !self.remembers_clients() {
            return Ok(None);
        }
        self.read(|transaction| {
            let blob = transaction.open_table(CLIENTS)?.get(client)?.and_then(|row| place(row.value()));
            let Some(blob) = blob else { return Ok(None) };
            blobs::get(&transaction.open_table(BLOBS)?, blob)
        })
    }

    /// A client's state if the round that is in progress is closed with its update.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn staged_state(&self, round: u32, position: u32) -> Result<Option<Vec<u8>>, JournalError> {
        self.read(|transaction| blobs::get(&transaction.open_table(BLOBS)?, Blob::State(round, position)))
    }

    /// Stores what clients remember after they were told how their uploads of the round in progress ended, by position.
    ///
    /// # Errors
    /// When the round is closed already, or the database cannot be written (then none is stored).
    pub fn put_settled_states(&self, round: u32, states: &[(u32, Vec<u8>)]) -> Result<(), JournalError> {
        self.write_round(round, |transaction| {
            let mut table = transaction.open_table(BLOBS)?;
            for (position, state) in states {
                blobs::put_bytes(&mut table, Blob::Settled(round, *position), state)?;
            }
            Ok(())
        })
    }
}

/// True where any client has a state. Looks at every client that ever took part.
pub(super) fn any(transaction: &ReadTransaction) -> Result<bool, redb::Error> {
    for row in transaction.open_table(CLIENTS)?.iter()? {
        if place(row?.1.value()).is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Points each client of a closing round to its new state, and removes the states that nobody is pointed to any more. The
/// result is whether there were any.
pub(super) fn settle(transaction: &WriteTransaction, round: u32, verdicts: &[Verdict]) -> Result<bool, redb::Error> {
    let mut clients = transaction.open_table(CLIENTS)?;
    let mut table = transaction.open_table(BLOBS)?;
    let staged = blobs::any_state(&table, round)?;
    let mut kept = BTreeSet::new();
    for Verdict { position, client, accepted } in verdicts.iter().copied() {
        let old = clients.get(client)?.map_or((0, 0, 0, 0), |row| row.value());
        let seen = if accepted { round } else { old.0 };
        let candidates = [(2, Blob::Settled(round, position), true), (1, Blob::State(round, position), accepted)];
        let mut new = (seen, old.1, old.2, old.3);
        for (kind, blob, counts) in candidates {
            if staged && counts && blobs::exists(&table, blob)? {
                if let Some(before) = place(old) {
                    blobs::remove(&mut table, before)?;
                }
                kept.insert((kind, position));
                new = (seen, kind, round, position);
                break;
            }
        }
        clients.insert(client, new)?;
    }
    blobs::remove_states(&mut table, round, |blob| match blob {
        Blob::State(_, position) => kept.contains(&(1, position)),
        Blob::Settled(_, position) => kept.contains(&(2, position)),
        _ => true,
    })?;
    Ok(staged)
}

fn place((_, kind, round, position): (u32, u8, u32, u32)) -> Option<Blob> {
    match kind {
        1 => Some(Blob::State(round, position)),
        2 => Some(Blob::Settled(round, position)),
        _ => None,
    }
}
