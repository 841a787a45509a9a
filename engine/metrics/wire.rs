//! Bytes of real frames by direction and by kind, and the time of coding them.

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, Registry};

use super::names;
use super::registration::{CALL_SECONDS, counters, histograms};

/// Bytes of real frames, by what they carry. Their sum is the length of the frames.
#[derive(Debug, Clone)]
pub struct WireBytes {
    /// Coded indices.
    pub indices: IntCounter,
    /// Coded values.
    pub values: IntCounter,
    /// Bytes that a policy coded by itself.
    pub other: IntCounter,
    /// Headers, section heads, checksums.
    pub framing: IntCounter,
    /// Whole frames that bring clients up to date that missed rounds.
    pub catch_up: IntCounter,
    /// Messages beside frames in a deployed federation.
    pub control: IntCounter,
}

impl WireBytes {
    /// Counts one frame, or several, as split by what they carry; bytes.
    pub fn add(&self, indices: u64, values: u64, other: u64, framing: u64) {
        self.indices.inc_by(indices);
        self.values.inc_by(values);
        self.other.inc_by(other);
        self.framing.inc_by(framing);
    }
}

/// One direction: server to client (`download`) or client to server (`upload`).
#[derive(Debug, Clone)]
pub struct DirectionMetrics {
    /// Bytes of frames.
    pub bytes: WireBytes,
    /// Frames.
    pub frames: IntCounter,
    /// Bytes that dense f32 would have cost in the same frames.
    pub dense_equivalent_bytes: IntCounter,
    /// Seconds from values to a frame.
    pub encode_seconds: Histogram,
    /// Seconds from a frame to values.
    pub decode_seconds: Histogram,
}

/// The families that both directions share.
pub(super) struct Wire {
    bytes: IntCounterVec,
    frames: IntCounterVec,
    dense: IntCounterVec,
    encode: HistogramVec,
    decode: HistogramVec,
}

impl Wire {
    pub(super) fn new(registry: &Registry) -> Self {
        let by = ["direction"];
        let timed = |name, help| histograms(registry, name, help, &by, CALL_SECONDS);
        Self {
            bytes: counters(
                registry,
                names::WIRE_BYTES,
                "Bytes of frames, by direction and by what they carry.",
                &["direction", "kind"],
            ),
            frames: counters(registry, names::WIRE_FRAMES, "Frames, by direction.", &by),
            dense: counters(
                registry,
                names::WIRE_DENSE_EQUIVALENT_BYTES,
                "Bytes that dense f32 would have cost in the same frames, by direction.",
                &by,
            ),
            encode: timed(names::ENCODE_DURATION, "Seconds from values to a frame, by direction."),
            decode: timed(names::DECODE_DURATION, "Seconds from a frame to values, by direction."),
        }
    }

    pub(super) fn direction(&self, direction: &str) -> DirectionMetrics {
        let bytes = |kind| self.bytes.with_label_values(&[direction, kind]);
        DirectionMetrics {
            bytes: WireBytes {
                indices: bytes("indices"),
                values: bytes("values"),
                other: bytes("other"),
                framing: bytes("framing"),
                catch_up: bytes("catch_up"),
                control: bytes("control"),
            },
            frames: self.frames.with_label_values(&[direction]),
            dense_equivalent_bytes: self.dense.with_label_values(&[direction]),
            encode_seconds: self.encode.with_label_values(&[direction]),
            decode_seconds: self.decode.with_label_values(&[direction]),
        }
    }
}
