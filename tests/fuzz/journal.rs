//! Fuzzes the journal: a good one with bytes changed or cut off, or any bytes at all, is opened and read. A panic is a find, and
//! so is a changed journal that says of the run what the good one did not.

#![no_main]

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use cellm::adapter::{Message, Part};
use cellm::client::ClientState;
use cellm::journal::{ClosedRound, Journal, JournalError, RunRecord, StoredReference, StoredUpdate, Verdict};
use cellm::wire::{Frame, FrameKind, Header, UploadHeader};
use libfuzzer_sys::fuzz_target;

const FILE: &str = "journal.redb";

/// A frame around so many bytes.
fn frame(client: u32, bytes: usize) -> Frame {
    let (kind, upload) = (FrameKind::Upload, UploadHeader::default());
    let header = Header { kind, layout: 1, policy: 2, round: 1, client, sequence: 0, upload };
    let parts = vec![Part::Bytes(vec![client as u8; bytes])];
    Frame::encode(&header, &Message { parts }).expect("bytes have a frame")
}

/// A folder, the bytes of a journal, and what is read from it.
static GOOD: LazyLock<(PathBuf, Vec<u8>, Vec<String>)> = LazyLock::new(|| {
    let folder = cellm_fuzz::folder();
    let run = RunRecord {
        config_hash: "c".into(),
        layout_hash: "l".into(),
        seed: 1,
        json: "{\"a\": 1}".into(),
        arithmetic: "AVX2".into(),
    };
    let journal = Journal::create(&folder, &run).expect("a journal");
    let update = |position| StoredUpdate {
        position,
        frame: Some(frame(position, 99)),
        meta: "{}".into(),
        state: vec![1, 0, 0, 0, 0],
    };
    journal.put_updates(1, &[update(0), update(1)]).expect("updates");
    let closed = ClosedRound {
        round: 1,
        weights: vec![0.5; 9].into(),
        row: "{\"round\": 1}".into(),
        client_rows: "{}\n".into(),
        ledger: "{}".into(),
        memory: [("p/bytes k".to_owned(), vec![1, 2, 3])].into(),
        references: vec![StoredReference {
            tier: 0,
            sequence: 2,
            values: Arc::new(vec![1.0; 9]),
            kept: vec![(1, frame(7, 20))],
        }],
        ..ClosedRound::default()
    };
    journal.close_round(&closed, &[Verdict { position: 0, client: 4, accepted: true }]).expect("a closed round");
    journal.put_updates(2, &[update(3)]).expect("an update");
    drop(journal);
    let bytes = std::fs::read(folder.join(FILE)).expect("the journal's file");
    let said = read(&folder).expect("a good journal can be read");
    (folder, bytes, said)
});

/// Everything that a resumed run asks of a journal, as text.
fn read(folder: &std::path::Path) -> Result<Vec<String>, JournalError> {
    let (journal, run) = Journal::open(folder)?;
    let mut said = vec![format!("{run:?}"), format!("{:?}", journal.latest()?)];
    for round in 1..4 {
        for position in journal.update_positions(round)? {
            said.push(format!("{round} {:?}", journal.update(round, position)?));
        }
    }
    for client in [4, 9] {
        let state = journal.client_state(client)?;
        let state = state.map(|bytes| ClientState::from_bytes(&bytes, 9).map(|state| state.to_bytes()));
        said.push(format!("{client} {:?} {state:?}", journal.last_seen(client)?));
    }
    said.push(format!("{:?} {:?}", journal.rows()?, journal.rows_after(None)?));
    Ok(said)
}

/// The good journal, changed: each four bytes are a place and what the byte there is mixed with; a mix of nothing cuts.
fn changed(good: &[u8], edits: &[u8]) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for [a, b, c, mix] in edits.as_chunks().0 {
        // The first pages have the roots of everything: most places are there.
        let place = u32::from_le_bytes([*a, *b, *c & 31, 0]) as usize;
        match bytes.get_mut(place) {
            Some(_) if *mix == 0 => bytes.truncate(place),
            Some(byte) => *byte ^= mix,
            None => {}
        }
    }
    bytes
}

fuzz_target!(|data: &[u8]| {
    let Some((way, rest)) = data.split_first() else { return };
    let (folder, good, said) = &*GOOD;
    let whole = way % 4 == 0;
    cellm_fuzz::put(folder, FILE, &if whole { rest.to_vec() } else { changed(good, rest) });
    if let Ok(found) = read(folder) {
        // The file may still hold the commits before the last one: those are true, though older.
        assert!(whole || found.first() == said.first(), "another run: {:?}", found.first());
    }
});
