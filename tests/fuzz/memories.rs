//! Fuzzes what is remembered between rounds, as it lies in the journal: entries and changes of a policy, memories of an owner,
//! states of clients. A panic, or bytes that are read but not written back as they were, is a find.

#![no_main]

use cellm::client::ClientState;
use cellm::compressor::Memories;
use cellm::policy::{Changes, Entries};
use libfuzzer_sys::fuzz_target;
use xxhash_rust::xxh3::xxh3_64;

/// Values of the adapter.
const VALUES: usize = 3;

fuzz_target!(|data: &[u8]| {
    let _ = (Entries::from_bytes(data), ClientState::from_bytes(data, VALUES));

    // With the right checksum behind, or no input would ever get past it.
    let sealed = [data, &xxh3_64(data).to_le_bytes()].concat();
    let entries = Entries::from_bytes(&sealed);
    let changes = Changes::from_bytes(&sealed);
    if let Ok(changes) = &changes {
        assert_eq!(changes.to_bytes(), sealed);
        let mut applied = Entries::default();
        changes.apply(&mut applied);
        // Bytes are compared: a NaN is not equal to itself.
        let again = Entries::from_bytes(&applied.to_bytes()).expect("entries come back");
        assert_eq!(again.to_bytes(), applied.to_bytes());
    }
    let Ok(entries) = entries else { return };
    assert_eq!(entries.to_bytes(), sealed);
    assert!(changes.is_ok(), "entries are changes too");

    // The same as the memory of a policy, and in a client's state.
    let mut memories = b"\x01\0\0\0p".to_vec();
    memories.extend_from_slice(&(sealed.len() as u64).to_le_bytes());
    memories.extend_from_slice(&sealed);
    let read = Memories::from_bytes(&memories).expect("entries in a frame are memories");
    let nothing = entries.is_empty();
    assert_eq!(read.to_bytes(), if nothing { Vec::new() } else { memories.clone() });
    let state = [&[1, 0, 0, 0, 0], &memories[..]].concat();
    let read = ClientState::from_bytes(&state, VALUES).expect("memories behind a head are a state");
    assert_eq!(read.to_bytes(), if nothing { Vec::new() } else { state });
});
