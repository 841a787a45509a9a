//! The policies that serve the run now, so that a round never mixes what two versions of a policy made.

use redb::ReadableTable;

use super::{BLOBS, Journal, META, REFERENCES, STATE, UPDATES, closed_round};
use crate::journal::JournalError;
use crate::journal::blobs;

/// The key in the meta table.
const SERVING: &str = "serving";

impl Journal {
    /// Notes which policies serve from here on, in a text that names them all. Where others did before, what these made
    /// for rounds to come goes in the same transaction: answers of the round in progress, with what clients would remember
    /// of it, and broadcasts that are kept for those who missed them. Returns whether there were others.
    ///
    /// # Errors
    /// When the database cannot be read or written (then nothing has changed).
    pub fn serve(&self, policies: &str) -> Result<bool, JournalError> {
        let mut others = false;
        // One transaction that writes, whatever it finds: it waits for one that a killed writer left under way.
        self.write(|transaction| {
            let mut meta = transaction.open_table(META)?;
            let before = meta.get(SERVING)?.map(|text| text.value().to_vec());
            others = before.is_some_and(|before| before != policies.as_bytes());
            meta.insert(SERVING, policies.as_bytes())?;
            let closed = closed_round(&transaction.open_table(STATE)?)?;
            if others { forget(transaction, closed.map_or(1, |closed| closed + 1)) } else { Ok(()) }
        })?;
        Ok(others)
    }
}

/// Drops what was made for a round that is not closed, and the kept broadcasts.
fn forget(transaction: &redb::WriteTransaction, round: u32) -> Result<(), redb::Error> {
    let mut table = transaction.open_table(BLOBS)?;
    blobs::remove_frames(&mut table, round)?;
    blobs::remove_states(&mut table, round, |_| false)?;
    for entry in transaction.open_table(REFERENCES)?.iter()? {
        blobs::remove_broadcasts(&mut table, entry?.0.value(), u32::MAX)?;
    }
    transaction.open_table(UPDATES)?.retain_in(..=(round, u32::MAX), |_, _| false)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::adapter::Message;
    use crate::journal::{ClosedRound, RunRecord, StoredReference, StoredUpdate};
    use crate::wire::{Frame, FrameKind, Header, UploadHeader};

    #[test]
    fn other_policies_drop_the_round_in_progress_and_kept_broadcasts_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let text = String::from;
        let run = RunRecord {
            config_hash: text("c"),
            layout_hash: text("l"),
            seed: 1,
            json: text("{}"),
            arithmetic: text("avx2"),
        };
        let journal = Journal::create(dir.path(), &run).unwrap();
        let (kind, upload) = (FrameKind::Download, UploadHeader::default());
        let header = Header { kind, layout: 1, policy: 2, round: 4, client: 0, sequence: 4, upload };
        let frame = Frame::encode(&header, &Message::default()).unwrap();
        let kept = vec![(4, frame.clone())];
        let reference = StoredReference { tier: 0, sequence: 4, values: Arc::new(vec![1.0]), kept };
        let closed = ClosedRound {
            round: 4,
            weights: vec![1.0, 2.0].into(),
            references: vec![reference],
            ..ClosedRound::default()
        };
        journal.close_round(&closed, &[]).unwrap();
        let answer = StoredUpdate { position: 3, frame: Some(frame), meta: text("{}"), state: vec![7] };
        journal.put_updates(5, &[answer]).unwrap();
        assert!(!journal.serve("a").unwrap());
        assert!(!journal.serve("a").unwrap());
        assert_eq!(journal.update_positions(5).unwrap(), [3]);
        assert_eq!(journal.latest().unwrap().unwrap(), closed);
        assert!(journal.serve("b").unwrap());
        assert_eq!(journal.update_positions(5).unwrap(), [0_u32; 0]);
        assert_eq!(journal.staged_state(5, 3).unwrap(), None);
        let after = journal.latest().unwrap().unwrap();
        assert_eq!((after.round, &after.weights), (4, &closed.weights));
        assert_eq!((after.references[0].sequence, after.references[0].kept.len()), (4, 0));
    }
}
