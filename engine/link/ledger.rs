//! The ledger: the one place where bytes are counted. In: every frame, as it crosses. Out: the bytes so far by direction and
//! kind, what dense f32 would have cost, and the same in the metrics.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::metrics::{DirectionMetrics, Metrics, raise};
use crate::wire::Frame;

/// Bytes of real frames in one direction, by what they carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DirectionBytes {
    /// Frames counted.
    pub frames: u64,
    /// Bytes of coded indices.
    pub indices: u64,
    /// Bytes of coded values.
    pub values: u64,
    /// Bytes that a policy coded by itself.
    pub other: u64,
    /// Headers, section heads, checksums.
    pub framing: u64,
    /// Whole frames that bring clients up to date that missed rounds.
    #[serde(default)]
    pub catch_up: u64,
    /// Bytes beside frames in a deployed federation: orders, signs of life, subjects, what was sent again.
    #[serde(default)]
    pub control: u64,
}

impl DirectionBytes {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.indices + self.values + self.other + self.framing + self.catch_up + self.control
    }

    /// The bytes of one frame.
    fn of(frame: &Frame) -> Self {
        let split = frame.split();
        let (indices, values, other, framing) = (split.indices, split.values, split.other, split.framing);
        Self { frames: 1, indices, values, other, framing, catch_up: 0, control: 0 }
    }

    fn add(&mut self, more: &Self) {
        self.frames += more.frames;
        self.indices += more.indices;
        self.values += more.values;
        self.other += more.other;
        self.framing += more.framing;
        self.catch_up += more.catch_up;
        self.control += more.control;
    }
}

/// Bytes so far; lies in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ByteTotals {
    /// Server to clients.
    pub down: DirectionBytes,
    /// Clients to server.
    pub up: DirectionBytes,
    /// Bytes of the same frames with every value in f32.
    pub dense_total: u64,
}

/// Counts every frame that crosses.
pub struct Ledger {
    totals: ByteTotals,
    /// Length of one dense f32 frame of the layout, bytes.
    dense_frame: u64,
    metrics: Arc<Metrics>,
}

impl Ledger {
    /// An empty one that counts into `metrics` too; `dense_frame` is the length of a real dense f32 frame, bytes.
    pub fn new(metrics: Arc<Metrics>, dense_frame: u64) -> Self {
        Self { totals: ByteTotals::default(), dense_frame, metrics }
    }

    /// Goes on from the totals of an earlier process: no counter of the metrics is behind them.
    pub fn resume(&mut self, totals: ByteTotals) {
        self.totals = totals;
        let up_dense = totals.up.frames * self.dense_frame;
        let down_dense = totals.dense_total.saturating_sub(up_dense);
        let directions =
            [(&self.metrics.upload, totals.up, up_dense), (&self.metrics.download, totals.down, down_dense)];
        for (direction, so_far, dense) in directions {
            raise(&direction.bytes.indices, so_far.indices);
            raise(&direction.bytes.values, so_far.values);
            raise(&direction.bytes.other, so_far.other);
            raise(&direction.bytes.framing, so_far.framing);
            raise(&direction.bytes.catch_up, so_far.catch_up);
            raise(&direction.bytes.control, so_far.control);
            raise(&direction.frames, so_far.frames);
            raise(&direction.dense_equivalent_bytes, dense);
        }
    }

    /// Goes back to earlier totals, for a round that is begun again. The metrics never go back: what was sent was sent.
    pub fn go_back(&mut self, totals: ByteTotals) {
        self.totals = totals;
    }

    /// The bytes so far.
    pub fn totals(&self) -> ByteTotals {
        self.totals
    }

    /// Counts a broadcast that goes to one client.
    pub fn broadcast(&mut self, frame: &Frame) {
        self.down(&DirectionBytes::of(frame), self.dense_frame);
    }

    /// Counts a frame that only brings one client up to date. A dense run would not have sent it.
    pub fn catch_up(&mut self, frame: &Frame) {
        self.down(&DirectionBytes { frames: 1, catch_up: frame.len() as u64, ..DirectionBytes::default() }, 0);
    }

    /// Counts a frame that tells one client how its upload ended. A dense run would not have sent it.
    pub fn verdict(&mut self, frame: &Frame) {
        self.down(&DirectionBytes::of(frame), 0);
    }

    /// Counts a frame that came to the server.
    pub fn upload(&mut self, frame: &Frame) {
        let bytes = DirectionBytes::of(frame);
        self.totals.up.add(&bytes);
        self.totals.dense_total += self.dense_frame;
        measure(&self.metrics.upload, &bytes, self.dense_frame);
    }

    /// Counts what crossed beside frames: to the clients, and from them. A dense run would have sent it too, so no baseline has it.
    pub fn control(&mut self, [down, up]: [u64; 2]) {
        self.totals.down.control += down;
        self.totals.up.control += up;
        self.metrics.download.bytes.control.inc_by(down);
        self.metrics.upload.bytes.control.inc_by(up);
    }

    fn down(&mut self, bytes: &DirectionBytes, dense: u64) {
        self.totals.down.add(bytes);
        self.totals.dense_total += dense;
        measure(&self.metrics.download, bytes, dense);
    }
}

fn measure(direction: &DirectionMetrics, bytes: &DirectionBytes, dense: u64) {
    direction.bytes.add(bytes.indices, bytes.values, bytes.other, bytes.framing);
    direction.bytes.catch_up.inc_by(bytes.catch_up);
    direction.frames.inc_by(bytes.frames);
    direction.dense_equivalent_bytes.inc_by(dense);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::{Message, Part, ValueCoding};
    use crate::wire::{FrameKind, Header, UploadHeader};

    /// A frame with `indices` bytes of indices, `values` of values and `other` of a policy's own.
    fn frame(kind: FrameKind, values: usize, other: usize) -> Frame {
        let (layout, policy, round, client, sequence) = (1, 2, 3, 4, 0);
        let header = Header { kind, layout, policy, round, client, sequence, upload: UploadHeader::default() };
        let values = Part::Values { coding: ValueCoding::F32, values: vec![1.0; values].into() };
        let indices = Part::Indices { space: 64, indices: vec![3, 9] };
        Frame::encode(&header, &Message { parts: vec![indices, values, Part::Bytes(vec![0; other])] }).unwrap()
    }

    #[test]
    fn every_byte_of_a_frame_is_counted_once_here_and_in_the_metrics() {
        let metrics = Arc::new(Metrics::new());
        let mut ledger = Ledger::new(metrics.clone(), 100);
        let [down, up] = [frame(FrameKind::Download, 5, 3), frame(FrameKind::Upload, 7, 0)];
        let [catch_up, verdict] = [frame(FrameKind::CatchUp, 9, 0), frame(FrameKind::Verdict, 0, 1)];
        ledger.broadcast(&down);
        ledger.upload(&up);
        ledger.catch_up(&catch_up);
        ledger.verdict(&verdict);
        let totals = ledger.totals();
        let lengths = |frames: &[&Frame]| frames.iter().map(|frame| frame.to_bytes().len() as u64).sum::<u64>();
        assert_eq!((totals.down.total(), totals.up.total()), (lengths(&[&down, &catch_up, &verdict]), lengths(&[&up])));
        assert_eq!((totals.down.frames, totals.down.other, totals.down.values), (3, 4, 20));
        assert_eq!((totals.down.catch_up, totals.up.values), (lengths(&[&catch_up]), 28));
        assert_eq!(totals.dense_total, 200, "a dense run has neither catch-up nor verdicts");
        let bytes = &metrics.download.bytes;
        let counted = [&bytes.indices, &bytes.values, &bytes.other, &bytes.framing, &bytes.catch_up];
        assert_eq!(counted.map(|counter| counter.get()).iter().sum::<u64>(), totals.down.total());
        assert_eq!((metrics.download.frames.get(), metrics.upload.dense_equivalent_bytes.get()), (3, 100));
    }

    #[test]
    fn totals_go_back_and_on_and_the_metrics_only_on() {
        let metrics = Arc::new(Metrics::new());
        let mut ledger = Ledger::new(metrics.clone(), 100);
        ledger.upload(&frame(FrameKind::Upload, 7, 0));
        let (once, values) = (ledger.totals(), || metrics.upload.bytes.values.get());
        ledger.upload(&frame(FrameKind::Upload, 7, 0));
        ledger.go_back(once);
        assert_eq!((ledger.totals(), values()), (once, 56));
        ledger.resume(once);
        assert_eq!(values(), 56, "a counter that is ahead stays");
        let later = Arc::new(Metrics::new());
        Ledger::new(later.clone(), 100).resume(once);
        assert_eq!((later.upload.bytes.values.get(), later.upload.dense_equivalent_bytes.get()), (28, 100));
    }
}
