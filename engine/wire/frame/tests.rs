//! Whole frames: round trips, damage, hostile bytes, golden bytes, sizes.

use proptest::prelude::*;

use super::*;
use crate::adapter::{Part, ValueCoding};
use crate::wire::{BROADCAST, FrameKind, UploadHeader};

fn header() -> Header {
    Header {
        kind: FrameKind::Upload,
        layout: 0x0102_0304,
        policy: 0x1112_1314,
        round: 3,
        client: BROADCAST,
        sequence: 0,
        upload: UploadHeader { examples: 5, loss: Some(1.5) },
    }
}

fn limits() -> Limits {
    Limits::for_values(100_000)
}

/// A message as bytes.
fn encode(header: &Header, message: &Message) -> Result<Vec<u8>, WireError> {
    Frame::encode(header, message).map(|frame| frame.to_bytes())
}

/// Bytes as a receiver has them.
fn decode(bytes: &[u8], limits: &Limits) -> Result<(Header, Message), WireError> {
    let frame = Frame::read(bytes.into())?;
    Ok((*frame.header(), frame.decode(limits)?))
}

fn split(bytes: &[u8]) -> Result<ByteSplit, WireError> {
    Frame::read(bytes.into()).map(|frame| frame.split())
}

fn frame_of(parts: Vec<Part>) -> Vec<u8> {
    encode(&header(), &Message { parts }).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn indices(space: u32, indices: &[u32]) -> Part {
    Part::Indices { space, indices: indices.into() }
}

fn codes(bits: u8, codes: &[u8]) -> Part {
    Part::Codes { bits, codes: codes.into() }
}

fn values(coding: ValueCoding, values: &[f32]) -> Part {
    Part::Values { coding, values: values.to_vec().into() }
}

/// Puts the right checksum at the end, so that damage reaches what lies behind it.
fn seal(body: &[u8]) -> Vec<u8> {
    [body, &(xxh3_64(body) as u32).to_le_bytes()].concat()
}

fn any_part() -> impl Strategy<Value = Part> {
    let space = prop_oneof![Just(0_u32), Just(1), 2..300_u32, 300..20_000_u32];
    let any_indices = (space, 0.0..1.0_f64, any::<u64>()).prop_map(|(space, density, seed)| {
        let kept = |index: &u32| {
            let mixed = (seed ^ u64::from(*index)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31);
            (mixed.wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 32) as f64 <= density * density * f64::from(u32::MAX)
        };
        Part::Indices { space, indices: (0..space).filter(kept).collect() }
    });
    let coding = prop_oneof![Just(ValueCoding::F32), Just(ValueCoding::F16), Just(ValueCoding::Bf16)];
    // Multiples of 1/8 up to 15 survive every coding exactly.
    let small = (-120..=120_i32).prop_map(|eighths| eighths as f32 / 8.0);
    // Repeated, some are long enough to be a piece of their own.
    let any_values = (coding, prop::collection::vec(small, 0..2000), 1..40_usize)
        .prop_map(|(coding, values, times)| Part::Values { coding, values: Arc::new(values.repeat(times)) });
    let any_codes = (1..=8_u8, prop::collection::vec(any::<u8>(), 0..2000)).prop_map(|(bits, codes)| Part::Codes {
        bits,
        codes: codes.into_iter().map(|code| code >> (8 - bits)).collect(),
    });
    prop_oneof![any_indices, any_values, any_codes, prop::collection::vec(any::<u8>(), 0..100).prop_map(Part::Bytes)]
}

proptest! {
    #[test]
    fn every_message_comes_back_and_its_split_adds_up(parts in prop::collection::vec(any_part(), 0..5)) {
        let (message, limits) = (Message { parts }, Limits::for_values(1_000_000));
        let frame = Frame::encode(&header(), &message).unwrap();
        let bytes = frame.to_bytes();
        let split = split(&bytes).unwrap();
        prop_assert_eq!(split.indices + split.values + split.other + split.framing, bytes.len() as u64);
        prop_assert_eq!(split, frame.split());
        prop_assert_eq!(frame.decode(&limits), Ok(message.clone()));
        prop_assert_eq!(decode(&bytes, &limits), Ok((header(), message)));
    }

    #[test]
    fn any_bytes_give_a_frame_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = (decode(&bytes, &limits()), split(&bytes));
    }

    #[test]
    fn any_bytes_after_a_good_header_give_a_frame_or_an_error(
        parts in 0..4_u8, bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0..17_u8, 30..100_u8], 0..200),
    ) {
        let mut body = frame_of(vec![])[..header().bytes()].to_vec();
        body.push(parts);
        body.extend(bytes);
        let bytes = seal(&body);
        if let Ok((header, message)) = decode(&bytes, &Limits { finite: false, ..limits() }) {
            let again = encode(&header, &message).unwrap();
            prop_assert!(again.len() <= bytes.len() + 16);
            prop_assert!(split(&bytes).is_ok());
        }
    }

    #[test]
    fn damage_behind_a_good_checksum_never_panics(
        parts in prop::collection::vec(any_part(), 1..4), at in any::<prop::sample::Index>(), xor in 1..=255_u8,
    ) {
        let frame = frame_of(parts);
        let mut body = frame[..frame.len() - CHECKSUM_BYTES].to_vec();
        let at = at.index(body.len());
        body[at] ^= xor;
        let _ = decode(&seal(&body), &limits());
    }
}

#[test]
fn every_flipped_bit_and_every_cut_is_detected() {
    let frame = frame_of(vec![indices(5000, &[1, 17, 3000]), values(ValueCoding::F16, &[1.0, -2.0, 0.5])]);
    for bit in 0..frame.len() * 8 {
        let mut damaged = frame.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(decode(&damaged, &limits()).is_err(), "bit {bit}");
    }
    for length in 0..frame.len() {
        assert!(decode(&frame[..length], &limits()).is_err(), "length {length}");
    }
    assert!(decode(&[frame, vec![0]].concat(), &limits()).is_err());
}

#[test]
fn frames_of_every_coder_have_the_golden_bytes() {
    let golden = |part: Part| {
        let frame = frame_of(vec![part]);
        let (front, rest) = frame.split_at(header().bytes() + 1);
        assert_eq!(hex(front), "43454c4d030204030201141312110300050000c03f01");
        hex(rest)
    };
    assert_eq!(golden(Part::Bytes(vec![0xab, 0xcd])), "0002abcda1140ba1");
    assert_eq!(golden(values(ValueCoding::F32, &[1.0, -2.5])), "01020000803f000020c08bd87099");
    assert_eq!(golden(values(ValueCoding::F16, &[1.0, -2.5])), "0202003c00c11acd925c");
    assert_eq!(golden(values(ValueCoding::Bf16, &[1.0, -2.5])), "0302803f20c0930cdbbc");
    assert_eq!(golden(codes(1, &[1, 0, 1, 1, 0, 0, 0, 0, 1])), "09090d01006cf7b0");
    assert_eq!(golden(codes(2, &[3, 0, 1, 2])), "0a0493d18c7a3a");
    assert_eq!(golden(codes(3, &[7, 1, 2, 3, 4, 5, 6, 0, 5])), "0b098fc61a05859ebd87");
    assert_eq!(golden(codes(8, &[0xab, 0xcd])), "1002abcd538da9e7");
    assert_eq!(golden(indices(16, &[0, 2, 3, 5, 8, 9, 12, 15])), "041008022d933efceed1");
    assert_eq!(golden(indices(1000, &[3, 250, 251, 999])), "27e807040507da03c03535810a4c");
    assert_eq!(golden(indices(10, &[0, 1, 2, 3, 5, 6, 7, 8, 9])), "410a0901044c9b6bf5");
}

#[test]
fn a_frame_beyond_a_limit_names_both_values() {
    let frame = frame_of(vec![indices(100, &[1, 2, 3]), values(ValueCoding::F32, &[0.0; 3]), Part::Bytes(vec![0; 9])]);
    let good = limits();
    let error = |limits: Limits| decode(&frame, &limits).unwrap_err();
    assert_eq!(error(Limits { bytes: 50, ..good }), WireError::TooLong { found: frame.len(), limit: 50 });
    assert_eq!(error(Limits { parts: 2, ..good }), WireError::TooManyParts { found: 3, limit: 2 });
    assert_eq!(error(Limits { values: 99, ..good }), WireError::Space { part: 0, found: 100, limit: 99 });
    let twice = frame_of(vec![values(ValueCoding::F32, &[0.0; 30]), values(ValueCoding::F16, &[0.0; 31])]);
    let small = Limits { values: 60, ..good };
    assert_eq!(decode(&twice, &small).unwrap_err(), WireError::TooManyValues { part: 1, found: 61, limit: 60 });
    let twice = frame_of(vec![codes(1, &[0; 30]), values(ValueCoding::F16, &[0.0; 31])]);
    assert_eq!(decode(&twice, &small).unwrap_err(), WireError::TooManyValues { part: 1, found: 61, limit: 60 });
    let full: Vec<u32> = (0..40).collect();
    let twice = frame_of(vec![indices(40, &full), indices(40, &full)]);
    assert_eq!(decode(&twice, &small).unwrap_err(), WireError::TooManyIndices { part: 1, found: 80, limit: 60 });
}

#[test]
fn a_frame_of_another_version_kind_or_protocol_says_so() {
    let change = |at: usize, to: u8| {
        let mut frame = frame_of(vec![]);
        frame[at] = to;
        decode(&frame, &limits()).unwrap_err().to_string()
    };
    assert_eq!(change(4, 1), "frame has format version 1, this build reads version 3");
    assert_eq!(change(5, 7), "frame kind is 7, expected 1 (download), 2 (upload), 3 (catch-up) or 4 (verdict)");
    assert_eq!(change(0, 0), "not a frame: starts with [00, 45, 4c, 4d], expected [43, 45, 4c, 4d]");
    let text = decode(&[], &limits()).unwrap_err().to_string();
    assert_eq!(text, "frame is cut off at byte 0: 4 bytes needed, 0 left");
    assert!(change(13, 99).starts_with("frame is damaged: its checksum is "));
}

#[test]
fn only_uploads_pay_for_what_the_client_says() {
    let of_kind = |kind| encode(&Header { kind, sequence: 9, ..header() }, &Message::default()).unwrap();
    let upload = of_kind(FrameKind::Upload);
    for (kind, saved, sequence) in [(FrameKind::Download, 4, 9), (FrameKind::CatchUp, 4, 9), (FrameKind::Verdict, 5, 0)]
    {
        let frame = of_kind(kind);
        assert_eq!(frame.len() + saved, upload.len());
        let (read, _) = decode(&frame, &limits()).unwrap();
        assert_eq!(read, Header { kind, sequence, upload: UploadHeader::default(), ..header() });
    }
    let quiet = Header { upload: UploadHeader { examples: 7, loss: None }, ..header() };
    assert_eq!(decode(&encode(&quiet, &Message::default()).unwrap(), &limits()).unwrap().0, quiet);
    let endless = Header { upload: UploadHeader { examples: 7, loss: Some(f32::INFINITY) }, ..header() };
    let error = encode(&endless, &Message::default()).unwrap_err();
    assert_eq!(error.to_string(), "the client's loss is inf, expected a finite number or none");
}

#[test]
fn heads_that_lie_are_errors_and_allocate_nothing() {
    let front = frame_of(vec![])[..header().bytes()].to_vec();
    let error = |part: &[u8]| decode(&seal(&[&front, &[1][..], part].concat()), &limits()).unwrap_err();
    let truncated = |offset, needed, found| WireError::Truncated { offset, needed, found };
    // 65,535 values of four bytes announced, one byte there.
    assert_eq!(error(&[1, 0xff, 0xff, 0x03, 0]), truncated(26, 65_535 * 4, 1));
    for found in [5, 8, 17, 31, 96, 255] {
        assert_eq!(error(&[found]), WireError::Coding { part: 0, found });
    }
    // Codes: 65,535 of one bit announced, one byte there; a bit behind the last code.
    assert_eq!(error(&[9, 0xff, 0xff, 0x03, 0]), truncated(26, 8192, 1));
    assert_eq!(error(&[11, 2, 0x40]), WireError::CodePadding { part: 0, count: 2, bits: 3, found: 1 });
    assert_eq!(error(&[0, 1, 7, 7, 7]), WireError::Trailing { found: 2 });
    // Rice: 200 indices below 255 in one byte; an index beyond the space; something after the last index.
    let count = |expected, found| WireError::IndexCount { part: 0, expected, bytes: 1, found };
    assert_eq!(error(&[32, 255, 1, 200, 1, 1, 0xff]), count(200, 8));
    assert_eq!(error(&[32, 4, 1, 1, 0x10]), WireError::IndexRange { part: 0, index: 4, space: 4 });
    assert_eq!(error(&[32, 9, 1, 1, 0x30]), WireError::IndexPadding { part: 0, bytes: 1, end: 5 });
    assert_eq!(error(&[32, 9, 1, 1, 0]), count(1, 0));
    assert_eq!(error(&[32, 9, 10, 2, 0xff, 0xff]), WireError::MoreIndicesThanSpace { part: 0, found: 10, space: 9 });
    // A bitmap with another number of ones than announced.
    assert_eq!(error(&[4, 8, 2, 1, 0b111]), count(2, 3));
}

#[test]
fn sparse_frames_reach_the_reductions_of_an_ideal_coder() {
    let space: u32 = 1 << 20;
    for (density, coding, reduction) in [
        (4, ValueCoding::F32, 3.6),
        (16, ValueCoding::F32, 13.6),
        (64, ValueCoding::F32, 51.5),
        (4, ValueCoding::F16, 6.6),
        (16, ValueCoding::F16, 23.7),
        (64, ValueCoding::F16, 86.5),
    ] {
        let mixed = |index: u32| (u64::from(index) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        let random = |index: &u32| mixed(*index).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40 < (1 << 24) / density;
        let kept: Vec<u32> = (0..space).filter(random).collect();
        let frame = frame_of(vec![values(coding, &vec![1.0; kept.len()]), indices(space, &kept)]);
        let kept_share = kept.len() as f64 * density as f64 / f64::from(space);
        let reached = f64::from(space) * 4.0 / frame.len() as f64 * kept_share;
        assert!(reached > reduction, "density 1/{density} {coding:?}: {reached:.2}");
    }
}

#[test]
fn codes_count_as_values_in_the_split_and_what_does_not_fit_its_bits_is_not_sent() {
    let frame = frame_of(vec![codes(2, &[3; 100]), values(ValueCoding::F16, &[1.0; 10]), Part::Bytes(vec![0; 7])]);
    let found = split(&frame).unwrap();
    assert_eq!((found.values, found.indices, found.other), (25 + 20, 0, 7));
    assert_eq!(found.total(), frame.len() as u64);
    let refused = |part: Part| encode(&header(), &Message { parts: vec![part] }).unwrap_err();
    assert_eq!(refused(codes(2, &[0, 4])), WireError::CodeRange { part: 0, position: 1, code: 4, bits: 2 });
    assert_eq!(refused(codes(9, &[0])), WireError::CodeBits { part: 0, found: 9 });
}

#[test]
fn long_f32_values_are_shared_from_message_to_message_and_travel_by_the_bytes_that_they_have() {
    let long: Arc<Vec<f32>> = Arc::new((0..20_000).map(|at| at as f32 - 0.5).collect());
    let part = || Part::Values { coding: ValueCoding::F32, values: long.clone() };
    let message = Message { parts: vec![part(), indices(9, &[2, 4]), part(), Part::Bytes(vec![7])] };
    let frame = Frame::encode(&header(), &message).unwrap();
    let decoded = frame.decode(&limits()).unwrap();
    assert_eq!(decoded, message);
    let shared = |part: &Part| matches!(part, Part::Values { values, .. } if Arc::ptr_eq(values, &long));
    assert_eq!(decoded.parts.iter().map(shared).collect::<Vec<_>>(), [true, false, true, false]);
    let bytes = frame.to_bytes();
    let payload: Vec<u8> = long.iter().flat_map(|value| value.to_le_bytes()).collect();
    let front = header().bytes() + 1 + 4;
    assert_eq!(bytes[front..front + payload.len()], payload);
    assert_eq!(bytes, seal(&bytes[..bytes.len() - CHECKSUM_BYTES]));
    for (start, length) in [(0, 10), (front - 1, 7), (front + 2, 9), (front + 79_997, 50), (bytes.len() - 2, 2)] {
        let mut out = vec![0; length];
        frame.copy(start, &mut out);
        assert_eq!(out, bytes[start..start + length], "{length} bytes from {start} on");
    }
    let read = Frame::read(bytes).unwrap();
    assert_eq!((&read, read.decode(&limits())), (&frame, Ok(message)));
    assert!(!read.is(&frame) && frame.is(&frame.clone()));
}

#[test]
fn shared_values_are_held_to_the_limits_like_any() {
    let mut long = vec![0.0; 20_000];
    long[19_999] = f32::NAN;
    let frame = Frame::encode(&header(), &Message { parts: vec![values(ValueCoding::F32, &long)] }).unwrap();
    let error = frame.decode(&limits()).unwrap_err();
    assert!(matches!(error, WireError::NotFinite { part: 0, position: 19_999, .. }), "{error}");
    assert!(frame.decode(&Limits { finite: false, ..limits() }).is_ok());
    let small = Limits { values: 19_999, ..limits() };
    assert_eq!(frame.decode(&small).unwrap_err(), WireError::TooManyValues { part: 0, found: 20_000, limit: 19_999 });
}
