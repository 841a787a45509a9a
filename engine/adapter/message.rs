//! A policy's encoding of a vector: a list of typed parts. The wire room turns it into bytes and back.

use std::sync::Arc;

/// The coding of values on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ValueCoding {
    /// IEEE single precision, lossless.
    F32,
    /// IEEE half precision, round to nearest even.
    F16,
    /// The upper half of a single, round to nearest even.
    Bf16,
}

/// One part of a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// Strictly increasing coordinates, each below `space`.
    Indices {
        /// Length of the vector that the coordinates point into.
        space: u32,
        /// The coordinates, strictly increasing.
        indices: Vec<u32>,
    },
    /// Values in the coding in which they are to travel.
    Values {
        /// Their coding.
        coding: ValueCoding,
        /// The values; what the receiver gets is rounded by the coding. Shared, since they may be a whole adapter.
        values: Arc<Vec<f32>>,
    },
    /// Small integers that stand for values, as a quantizer makes them.
    Codes {
        /// Bits of each on the wire, 1 to 8.
        bits: u8,
        /// The codes, one a byte; each fits the bits.
        codes: Vec<u8>,
    },
    /// Anything that a policy codes by itself.
    Bytes(Vec<u8>),
}

/// The parts that a policy encoded, in the order in which its decoder takes them back.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Message {
    /// The parts, first to last.
    pub parts: Vec<Part>,
}
