//! Fuzzes the decoder of wire frames: any bytes in; a panic or a frame that does not survive a round trip is a find.

#![no_main]

use cellm::adapter::Message;
use cellm::wire::{BROADCAST, Frame, FrameKind, Header, Limits, UploadHeader};
use libfuzzer_sys::fuzz_target;
use xxhash_rust::xxh3::xxh3_64;

fuzz_target!(|data: &[u8]| {
    let limits = Limits::for_values(1 << 16);
    let _ = Frame::read(data.into()).map(|frame| frame.decode(&limits));

    // A good header before and the right checksum behind, or no input would ever get past them.
    let (kind, upload) = (FrameKind::Upload, UploadHeader::default());
    let header = Header { kind, layout: 1, policy: 2, round: 3, client: BROADCAST, sequence: 4, upload };
    let empty = Frame::encode(&header, &Message::default()).expect("an empty message has a frame").to_bytes();
    // Without the number of parts and the checksum.
    let body = [&empty[..empty.len() - 5], data].concat();
    let bytes = [&body[..], &(xxh3_64(&body) as u32).to_le_bytes()].concat();
    let length = bytes.len() as u64;
    let Ok(frame) = Frame::read(bytes) else { return };
    assert_eq!(frame.split().total(), length);
    let Ok(message) = frame.decode(&limits) else { return };

    let again = Frame::encode(frame.header(), &message).expect("what was decoded can be encoded");
    let again = Frame::read(again.to_bytes()).expect("what was encoded can be read");
    assert_eq!((again.header(), again.decode(&limits)), (frame.header(), Ok(message)));
});
