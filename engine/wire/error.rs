//! Everything that can be wrong with a frame. Each message names the part and both values.

use crate::adapter::ValueCoding;

/// The reason that a frame was not made or not read. Parts count from 0.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum WireError {
    /// The frame is longer than allowed.
    #[error("frame of {found} bytes is over the limit of {limit}")]
    TooLong {
        /// Bytes of the frame.
        found: usize,
        /// [`Limits::bytes`](super::Limits::bytes).
        limit: usize,
    },
    /// The bytes end before the frame does.
    #[error("frame is cut off at byte {offset}: {needed} bytes needed, {found} left")]
    Truncated {
        /// The place at which reading stopped, bytes from the frame's start.
        offset: usize,
        /// Bytes that should follow there.
        needed: usize,
        /// Bytes that do.
        found: usize,
    },
    /// Not a frame at all.
    #[error("not a frame: starts with {found:02x?}, expected {expected:02x?}")]
    Magic {
        /// The first four bytes.
        found: [u8; 4],
        /// `CELM`.
        expected: [u8; 4],
    },
    /// Made by another version of the format.
    #[error("frame has format version {found}, this build reads version {expected}")]
    Version {
        /// The version of the frame.
        found: u8,
        /// The version of this build.
        expected: u8,
    },
    /// None of the kinds.
    #[error("frame kind is {found}, expected 1 (download), 2 (upload), 3 (catch-up) or 4 (verdict)")]
    Kind {
        /// The kind byte.
        found: u8,
    },
    /// A training loss without end.
    #[error("the client's loss is {found}, expected a finite number or none")]
    Loss {
        /// The value that was found.
        found: f32,
    },
    /// Damaged on its way.
    #[error("frame is damaged: its checksum is {found:08x}, its bytes give {computed:08x}")]
    Checksum {
        /// The checksum that the frame carries.
        found: u32,
        /// The checksum of its bytes.
        computed: u32,
    },
    /// Bytes between the last part and the checksum.
    #[error("{found} bytes follow the last part, expected 0")]
    Trailing {
        /// Their number.
        found: usize,
    },
    /// A varint that does not fit 32 bits.
    #[error("number at byte {offset} does not fit 32 bits")]
    Varint {
        /// The place at which it starts.
        offset: usize,
    },
    /// More parts than allowed.
    #[error("{found} parts are over the limit of {limit}")]
    TooManyParts {
        /// Parts announced.
        found: usize,
        /// [`Limits::parts`](super::Limits::parts).
        limit: usize,
    },
    /// A coding byte that no coder has.
    #[error("part {part} has coding {found}, expected 0 to 4, 9 to 16 or 32 to 95")]
    Coding {
        /// The part.
        part: usize,
        /// Its coding byte.
        found: u8,
    },
    /// More values in all parts together than allowed.
    #[error("part {part} brings the frame to {found} values, the limit is {limit}")]
    TooManyValues {
        /// The part that goes over.
        part: usize,
        /// Values of all parts up to it.
        found: usize,
        /// [`Limits::values`](super::Limits::values).
        limit: usize,
    },
    /// More indices in all parts together than allowed.
    #[error("part {part} brings the frame to {found} indices, the limit is {limit}")]
    TooManyIndices {
        /// The part that goes over.
        part: usize,
        /// Indices of all parts up to it.
        found: usize,
        /// [`Limits::values`](super::Limits::values).
        limit: usize,
    },
    /// Indices into a vector longer than allowed.
    #[error("part {part} points into {found} coordinates, the limit is {limit}")]
    Space {
        /// The part.
        part: usize,
        /// The length of the vector that it points into.
        found: usize,
        /// [`Limits::values`](super::Limits::values).
        limit: usize,
    },
    /// More indices than coordinates.
    #[error("part {part} announces {found} indices into {space} coordinates")]
    MoreIndicesThanSpace {
        /// The part.
        part: usize,
        /// Indices announced.
        found: usize,
        /// Coordinates that there are.
        space: u32,
    },
    /// The bytes of a part's indices cannot hold, or do not hold, the announced number of them.
    #[error("part {part} announces {expected} indices, its {bytes} bytes hold {found}")]
    IndexCount {
        /// The part.
        part: usize,
        /// Indices announced.
        expected: usize,
        /// Bytes of its payload.
        bytes: usize,
        /// Indices found (the most there can be, when it is clear from the length alone).
        found: usize,
    },
    /// An index beyond the vector.
    #[error("part {part} has index {index}, it points into {space} coordinates")]
    IndexRange {
        /// The part.
        part: usize,
        /// The index.
        index: u64,
        /// Coordinates that there are.
        space: u32,
    },
    /// Indices that are not strictly increasing.
    #[error("part {part} has index {index} after {previous}, indices must increase")]
    IndexOrder {
        /// The part.
        part: usize,
        /// The index.
        index: u32,
        /// The one before it.
        previous: u32,
    },
    /// Bits or bytes after a part's last index.
    #[error("part {part} has {bytes} bytes of indices, they end in bit {end} and the rest is not empty")]
    IndexPadding {
        /// The part.
        part: usize,
        /// Bytes of its payload.
        bytes: usize,
        /// Bits that its indices take.
        end: usize,
    },
    /// Codes of a width that no coder has.
    #[error("part {part} has codes of {found} bits, expected 1 to 8")]
    CodeBits {
        /// The part.
        part: usize,
        /// Bits of each code.
        found: u8,
    },
    /// A code that its bits do not hold.
    #[error("code {position} of part {part} is {code}, its {bits} bits hold up to {}", (1_u16 << bits) - 1)]
    CodeRange {
        /// The part.
        part: usize,
        /// The code's place in the part, from 0.
        position: usize,
        /// The code.
        code: u8,
        /// Bits of each code.
        bits: u8,
    },
    /// Bits after a part's last code.
    #[error(
        "part {part} has {count} codes of {bits} bits, behind the last one its bytes have {found:#04x}, expected 0"
    )]
    CodePadding {
        /// The part.
        part: usize,
        /// Codes announced.
        count: usize,
        /// Bits of each.
        bits: u8,
        /// The bits that are there in place of zeros.
        found: u8,
    },
    /// NaN or an infinity.
    #[error("value {position} of part {part} is {value}, expected a finite number")]
    NotFinite {
        /// The part.
        part: usize,
        /// The value's place in the part, from 0.
        position: usize,
        /// The value.
        value: f32,
    },
    /// A finite value that its coding would turn into an infinity.
    #[error("value {position} of part {part} is {value}, the largest that {coding:?} holds is {largest}")]
    Overflow {
        /// The part.
        part: usize,
        /// The value's place in the part, from 0.
        position: usize,
        /// The value.
        value: f32,
        /// The coding.
        coding: ValueCoding,
        /// Its largest finite value.
        largest: f32,
    },
    /// A part that 32 bits cannot count.
    #[error("part {part} has {found} items, the most that a frame can count is {limit}")]
    TooLarge {
        /// The part.
        part: usize,
        /// Its items.
        found: usize,
        /// `u32::MAX`.
        limit: usize,
    },
}
