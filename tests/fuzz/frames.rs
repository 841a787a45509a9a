//! Fuzzes the decoder of wire frames: any bytes in; a panic or a frame that does not survive a round trip is a find.

#![no_main]

use cellm::adapter::Message;
use cellm::wire::{self, BROADCAST, FrameKind, Header, Limits, UploadHeader};
use libfuzzer_sys::fuzz_target;
use xxhash_rust::xxh3::xxh3_64;

fuzz_target!(|data: &[u8]| {
    let limits = Limits::for_values(1 << 16);
    let _ = (wire::decode(data, &limits), wire::split(data));

    // A good header before and the right checksum behind, or no input would ever get past them.
    let (kind, upload) = (FrameKind::Upload, UploadHeader::default());
    let header = Header { kind, layout: 1, policy: 2, round: 3, client: BROADCAST, sequence: 4, upload };
    let empty = wire::encode(&header, &Message::default()).expect("an empty message has a frame");
    // Behind the header stand the number of parts (one byte) and the checksum (four).
    let body = [&empty[..empty.len() - 5], data].concat();
    let frame = [&body[..], &(xxh3_64(&body) as u32).to_le_bytes()].concat();
    let split = wire::split(&frame);
    let Ok(decoded) = wire::decode(&frame, &limits) else { return };

    let split = split.expect("what can be decoded can be split");
    assert_eq!(split.indices + split.values + split.other + split.framing, frame.len() as u64);
    let again = wire::encode(&decoded.0, &decoded.1).expect("what was decoded can be encoded");
    assert_eq!(wire::decode(&again, &limits), Ok(decoded));
});
