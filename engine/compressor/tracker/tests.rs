//! Catch-up by real frames: a receiver of its own reads bytes and has the server's reference, to the bit.

use half::f16;
use proptest::prelude::*;

use super::*;
use crate::adapter::{Message, Part, ValueCoding};
use crate::wire::{BROADCAST, Frame, FrameKind, Header, Limits, UploadHeader};

const VALUES: usize = 300;

fn frame(kind: FrameKind, round: u32, sequence: u32, message: &Message) -> Frame {
    let header =
        Header { kind, layout: 1, policy: 2, round, client: BROADCAST, sequence, upload: UploadHeader::default() };
    Frame::encode(&header, message).unwrap()
}

/// Top-k in f16, as a policy would make it.
fn coded(difference: &[f32], kept: usize) -> Message {
    let mut order: Vec<u32> = (0..difference.len() as u32).collect();
    order.sort_by(|a, b| difference[*b as usize].abs().total_cmp(&difference[*a as usize].abs()).then(a.cmp(b)));
    let mut indices = order[..kept].to_vec();
    indices.sort_unstable();
    let values = indices.iter().map(|at| difference[*at as usize]).collect();
    let space = difference.len() as u32;
    Message {
        parts: vec![
            Part::Indices { space, indices },
            Part::Values { coding: ValueCoding::F16, values: Arc::new(values) },
        ],
    }
}

fn parts(bytes: Vec<u8>) -> (Header, Vec<u32>, Vec<f32>) {
    let frame = Frame::read(bytes).unwrap();
    let (header, message) = (*frame.header(), frame.decode(&Limits::for_values(VALUES)).unwrap());
    match <[Part; 2]>::try_from(message.parts).unwrap() {
        [Part::Indices { indices, .. }, Part::Values { values, .. }] => (header, indices, values.to_vec()),
        other => panic!("{other:?}"),
    }
}

/// A receiver that shares no code with [`Reference`]: bytes in, its own copy of the values.
struct Receiver {
    sequence: u32,
    values: Vec<f32>,
}

impl Receiver {
    fn take(&mut self, bytes: Vec<u8>, start: &[f32]) {
        let (header, indices, values) = parts(bytes);
        if header.kind == FrameKind::CatchUp {
            self.values = start.to_vec();
            for (at, value) in indices.iter().zip(values) {
                self.values[*at as usize] = value;
            }
        } else {
            assert_eq!(header.sequence, self.sequence + 1, "no broadcast is missing");
            for (at, value) in indices.iter().zip(values) {
                let sum = self.values[*at as usize] + value;
                self.values[*at as usize] = if value == 0.0 { self.values[*at as usize] } else { f16_of(sum) };
            }
        }
        self.sequence = header.sequence;
    }
}

fn f16_of(value: f32) -> f32 {
    f16::from_f32(value.clamp(-65_504.0, 65_504.0)).to_f32()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// The frames that a receiver is sent before the broadcast of a round.
fn catch_up(tracker: &Tracker, last_seen: u32, start: &[f32]) -> (Vec<Frame>, bool) {
    let sequence = tracker.reference().sequence();
    let snapshot = frame(FrameKind::CatchUp, sequence + 1, sequence, &tracker.reference().snapshot(start));
    match tracker.missed(last_seen) {
        Some(frames) if frames.iter().map(|frame| frame.len()).sum::<usize>() <= snapshot.len() => (frames, false),
        _ => (vec![snapshot], true),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_receiver_that_misses_rounds_catches_up_to_the_bit(
        steps in prop::collection::vec(prop::collection::vec(-1e5_f32..1e5, 8), 2..14),
        present in prop::collection::vec(any::<bool>(), 14), kept in 1..VALUES, scale in -6..3_i32,
    ) {
        let start: Vec<f32> = (0..VALUES).map(|at| (at as f32 * 0.37).sin() * 0.1).collect();
        let mut weights = start.clone();
        let mut tracker = Tracker::new(Arc::new(start.clone()));
        let mut receiver = Receiver { sequence: 0, values: start.clone() };
        for (number, step) in steps.iter().enumerate() {
            for (at, weight) in weights.iter_mut().enumerate() {
                *weight += step[at % step.len()] * 10_f32.powi(scale) * ((at + number) as f32).cos();
            }
            let message = coded(&tracker.reference().difference(&weights).iter().map(|d| d.clamp(-6e4, 6e4)).collect::<Vec<_>>(), kept);
            let sequence = number as u32 + 1;
            let broadcast = frame(FrameKind::Download, sequence, sequence, &message);
            let (_, indices, values) = parts(broadcast.to_bytes());
            let mut decoded = vec![0.0; VALUES];
            indices.iter().zip(values).for_each(|(at, value)| decoded[*at as usize] = value);
            let before = tracker.clone();
            tracker = tracker.sent(sequence, broadcast.clone(), &decoded).unwrap();
            if present[number] || number + 1 == steps.len() {
                if receiver.sequence < before.reference().sequence() {
                    for frame in catch_up(&before, receiver.sequence, &start).0 {
                        receiver.take(frame.to_bytes(), &start);
                    }
                }
                prop_assert_eq!(bits(&receiver.values), bits(before.reference().values()));
                receiver.take(broadcast.to_bytes(), &start);
            }
        }
        prop_assert_eq!(receiver.sequence, tracker.reference().sequence());
        prop_assert_eq!(bits(&receiver.values), bits(tracker.reference().values()));
    }
}

#[test]
fn few_missed_rounds_are_caught_up_by_their_frames_and_many_by_a_snapshot() {
    let start = vec![0.0; VALUES];
    let mut tracker = Tracker::new(Arc::new(start.clone()));
    let mut kinds = Vec::new();
    for sequence in 1..=60 {
        let weights: Vec<f32> = (0..VALUES).map(|at| ((at + sequence as usize) as f32).sin()).collect();
        let message = coded(&tracker.reference().difference(&weights), 30);
        let broadcast = frame(FrameKind::Download, sequence, sequence, &message);
        let (_, indices, values) = parts(broadcast.to_bytes());
        let mut decoded = vec![0.0; VALUES];
        indices.iter().zip(values).for_each(|(at, value)| decoded[*at as usize] = value);
        tracker = tracker.sent(sequence, broadcast, &decoded).unwrap();
    }
    for missed in [0, 1, 30, 60] {
        let (frames, snapshot) = catch_up(&tracker, 60 - missed, &start);
        kinds.push((frames.len(), snapshot));
    }
    assert_eq!(kinds, [(0, false), (1, false), (1, true), (1, true)]);
    let kept: usize = tracker.kept().map(|sent| sent.frame.len()).sum();
    assert!(kept <= longest_snapshot(VALUES) && tracker.kept().count() < 20, "{kept} bytes are kept");
}

#[test]
fn a_snapshot_of_everything_is_no_longer_than_its_bound() {
    for touched in [0, 1, VALUES / 2, VALUES - 1, VALUES] {
        let start = vec![0.0; VALUES];
        let decoded: Vec<f32> = (0..VALUES).map(|at| if at * 7 % VALUES < touched { 1.0 } else { 0.0 }).collect();
        let reference = Reference::new(Arc::new(start.clone())).advanced(1, &decoded).unwrap();
        let snapshot = frame(FrameKind::CatchUp, 2, 1, &reference.snapshot(&start));
        assert!(snapshot.len() <= longest_snapshot(VALUES), "{touched} touched: {} bytes", snapshot.len());
    }
}
