//! Fuzzes the coders of indices, values and codes: a message that is made of the bytes must come back from its frame, the
//! rounded values as they were rounded. A panic, an error or a difference is a find.

#![no_main]

use cellm::adapter::{Message, Part, ValueCoding};
use cellm::wire::{BROADCAST, Frame, FrameKind, Header, Limits, UploadHeader, WireError};
use libfuzzer_sys::fuzz_target;

/// A message in which NaN is equal to itself.
fn bits(message: &Message) -> Vec<(Option<ValueCoding>, Vec<u32>)> {
    let of = |part: &Part| match part {
        Part::Values { coding, values } => (Some(*coding), values.iter().map(|value| value.to_bits()).collect()),
        Part::Indices { space, indices } => (None, [&[*space], &indices[..]].concat()),
        Part::Codes { bits, codes } => (None, [*bits].iter().chain(codes).map(|code| u32::from(*code)).collect()),
        Part::Bytes(bytes) => (None, bytes.iter().map(|byte| u32::from(*byte)).collect()),
    };
    message.parts.iter().map(of).collect()
}

fuzz_target!(|data: &[u8]| {
    let message = cellm_fuzz::message(data, 4096);
    let (kind, upload) = (FrameKind::Upload, UploadHeader::default());
    let header = Header { kind, layout: 1, policy: 2, round: 3, client: BROADCAST, sequence: 0, upload };
    let frame = match Frame::encode(&header, &message) {
        Ok(frame) => frame,
        // A finite value that half precision does not have.
        Err(WireError::Overflow { .. }) => return,
        Err(error) => panic!("{error}: {message:?}"),
    };
    let limits = Limits { finite: false, values: usize::MAX, parts: usize::MAX, bytes: usize::MAX };
    let read = Frame::read(frame.to_bytes()).expect("what was encoded can be read");
    assert_eq!((read.header(), read.split()), (&header, frame.split()));
    let decoded = read.decode(&limits).expect("what was encoded can be decoded");
    assert_eq!(bits(&decoded), bits(&frame.decode(&limits).expect("shared values too")));
    let exact = |part: &&Part| !matches!(part, Part::Values { coding: ValueCoding::F16 | ValueCoding::Bf16, .. });
    let kept = |message: &Message| Message { parts: message.parts.iter().filter(exact).cloned().collect() };
    assert_eq!(bits(&kept(&message)), bits(&kept(&decoded)));
    assert_eq!(Frame::encode(&header, &decoded).expect("rounded values have a frame"), frame);
    assert_eq!(read.split().total(), frame.to_bytes().len() as u64);
});
