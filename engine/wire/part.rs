//! One part of a frame: a head of one coding byte and varints, then the payload. Parts in, bytes out, and back.
//!
//! | coding byte | part | varints after it |
//! |---|---|---|
//! | 0 | bytes | length |
//! | 1, 2, 3 | values as f32, f16, bf16 | count |
//! | 8 + b | codes of b bits (1 to 8), packed from the low bits on; the last byte is filled with zeros | count |
//! | 4 | indices, bitmap | space, count, payload length |
//! | 32 + k | indices, Rice with parameter k (0 to 31) | space, count, payload length |
//! | 64 + k | absent indices, Rice with parameter k | space, count, payload length |

use super::WireError;
use super::codes;
use super::cursor::{Cursor, varint_bytes, write_varint};
use super::indices::{self, IndexCoding, IndexPlan};
use super::values;
use crate::adapter::{Part, ValueCoding};

/// The limits of a receiver. Decoding allocates at most `12 * values + bytes` bytes, and less for short input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest vector that indices may point into; also the most indices, and the most values and codes, of all
    /// parts together.
    pub values: usize,
    /// The most parts.
    pub parts: usize,
    /// The longest frame.
    pub bytes: usize,
    /// True where NaN and infinities are errors.
    pub finite: bool,
}

impl Limits {
    /// For an adapter of that many values: a dense f32 frame with every index fits, and 64 KiB of other bytes. Quantizers
    /// send scales beside as many codes and fill their last block, so an eighth more values are taken, and 1024.
    pub fn for_values(values: usize) -> Self {
        let bytes = values.saturating_mul(5).saturating_add(64 << 10);
        Self { values: values.saturating_add(values / 8 + 1024), parts: 1024, bytes, finite: true }
    }
}

/// From how many bytes on f32 values are a piece of their own.
const SHARED_BYTES: usize = 64 << 10;

/// The rest of [`Limits::values`] while a frame is read.
#[derive(Default)]
pub(super) struct Spent {
    values: usize,
    indices: usize,
}

/// The head of a part.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Head {
    Bytes { bytes: u32 },
    Values { coding: ValueCoding, count: u32 },
    Codes { bits: u8, count: u32 },
    Indices { coding: IndexCoding, space: u32, count: u32, bytes: u32 },
}

impl Head {
    /// The head that a part is going to have.
    pub(super) fn plan(part: &Part, number: usize) -> Result<Self, WireError> {
        let fits = |found: usize| {
            let limit = u32::MAX as usize;
            u32::try_from(found).map_err(|_| WireError::TooLarge { part: number, found, limit })
        };
        Ok(match part {
            Part::Bytes(bytes) => Self::Bytes { bytes: fits(bytes.len())? },
            Part::Values { coding, values } => Self::Values { coding: *coding, count: fits(values.len())? },
            Part::Codes { bits, codes } => {
                codes::check(codes, *bits, number)?;
                Self::Codes { bits: *bits, count: fits(codes.len())? }
            }
            Part::Indices { space, indices } => {
                let IndexPlan { coding, bytes } = indices::plan(indices, *space, number)?;
                let bytes = fits(usize::try_from(bytes).unwrap_or(usize::MAX))?;
                Self::Indices { coding, space: *space, count: fits(indices.len())?, bytes }
            }
        })
    }

    /// True where its values are a piece of the frame of their own. Fewer are cheaper to copy.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self, Self::Values { coding: ValueCoding::F32, count } if *count as usize * 4 >= SHARED_BYTES)
    }

    /// Bytes of the head itself.
    pub(super) fn head_bytes(&self) -> usize {
        1 + match self {
            Self::Bytes { bytes } => varint_bytes(*bytes),
            Self::Values { count, .. } | Self::Codes { count, .. } => varint_bytes(*count),
            Self::Indices { space, count, bytes, .. } => {
                varint_bytes(*space) + varint_bytes(*count) + varint_bytes(*bytes)
            }
        }
    }

    /// Bytes of what follows it.
    pub(super) fn payload_bytes(&self) -> usize {
        match self {
            Self::Bytes { bytes } | Self::Indices { bytes, .. } => *bytes as usize,
            Self::Values { coding, count } => values::value_bytes(*coding).saturating_mul(*count as usize),
            Self::Codes { bits, count } => codes::packed_bytes(*count as usize, *bits),
        }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Bytes { bytes } => {
                out.push(0);
                write_varint(out, bytes);
            }
            Self::Values { coding, count } => {
                out.push(match coding {
                    ValueCoding::F32 => 1,
                    ValueCoding::F16 => 2,
                    ValueCoding::Bf16 => 3,
                });
                write_varint(out, count);
            }
            Self::Codes { bits, count } => {
                out.push(8 + bits);
                write_varint(out, count);
            }
            Self::Indices { coding, space, count, bytes } => {
                out.push(match coding {
                    IndexCoding::Bitmap => 4,
                    IndexCoding::Rice(k) => 32 + k as u8,
                    IndexCoding::RiceAbsent(k) => 64 + k as u8,
                });
                [space, count, bytes].into_iter().for_each(|number| write_varint(out, number));
            }
        }
    }

    pub(super) fn read(cursor: &mut Cursor<'_>, part: usize) -> Result<Self, WireError> {
        let [byte] = cursor.array()?;
        let coding = match byte {
            0 => return Ok(Self::Bytes { bytes: cursor.varint()? }),
            1 => return Ok(Self::Values { coding: ValueCoding::F32, count: cursor.varint()? }),
            2 => return Ok(Self::Values { coding: ValueCoding::F16, count: cursor.varint()? }),
            3 => return Ok(Self::Values { coding: ValueCoding::Bf16, count: cursor.varint()? }),
            4 => IndexCoding::Bitmap,
            9..17 => return Ok(Self::Codes { bits: byte - 8, count: cursor.varint()? }),
            32..64 => IndexCoding::Rice(u32::from(byte - 32)),
            64..96 => IndexCoding::RiceAbsent(u32::from(byte - 64)),
            found => return Err(WireError::Coding { part, found }),
        };
        Ok(Self::Indices { coding, space: cursor.varint()?, count: cursor.varint()?, bytes: cursor.varint()? })
    }
}

/// Appends a part with the head that was planned for it.
pub(super) fn write(part: &Part, head: &Head, number: usize, out: &mut Vec<u8>) -> Result<(), WireError> {
    head.write(out);
    match (part, head) {
        (Part::Values { coding, values }, _) => values::encode(values, *coding, number, out)?,
        (Part::Indices { space, indices }, Head::Indices { coding, .. }) => {
            indices::encode(indices, *space, *coding, out);
        }
        (Part::Codes { bits, codes }, _) => codes::encode(codes, *bits, out),
        (Part::Bytes(bytes), _) => out.extend_from_slice(bytes),
        (Part::Indices { .. }, _) => debug_assert!(false, "the head was planned for another part"),
    }
    Ok(())
}

/// Reads the next part.
pub(super) fn read(
    cursor: &mut Cursor<'_>,
    limits: &Limits,
    spent: &mut Spent,
    part: usize,
) -> Result<Part, WireError> {
    let head = Head::read(cursor, part)?;
    let limit = limits.values;
    match head {
        Head::Bytes { .. } => Ok(Part::Bytes(cursor.take(head.payload_bytes())?.to_vec())),
        Head::Values { coding, count } => {
            let found = spent.values.saturating_add(count as usize);
            if found > limit {
                return Err(WireError::TooManyValues { part, found, limit });
            }
            spent.values = found;
            if let Some((values, finite)) = cursor.shared(count as usize) {
                if limits.finite && !finite {
                    values::check_finite(values, 0, part)?;
                }
                return Ok(Part::Values { coding, values: values.clone() });
            }
            let payload = cursor.take(head.payload_bytes())?;
            let values = values::decode(payload, coding, limits.finite, part)?;
            Ok(Part::Values { coding, values: values.into() })
        }
        Head::Codes { bits, count } => {
            let found = spent.values.saturating_add(count as usize);
            if found > limit {
                return Err(WireError::TooManyValues { part, found, limit });
            }
            spent.values = found;
            let payload = cursor.take(head.payload_bytes())?;
            Ok(Part::Codes { bits, codes: codes::decode(payload, bits, count as usize, part)? })
        }
        Head::Indices { coding, space, count, .. } => {
            if space as usize > limit {
                return Err(WireError::Space { part, found: space as usize, limit });
            }
            if count > space {
                return Err(WireError::MoreIndicesThanSpace { part, found: count as usize, space });
            }
            let found = spent.indices.saturating_add(count as usize);
            if found > limit {
                return Err(WireError::TooManyIndices { part, found, limit });
            }
            spent.indices = found;
            let payload = cursor.take(head.payload_bytes())?;
            Ok(Part::Indices { space, indices: indices::decode(payload, coding, count as usize, space, part)? })
        }
    }
}
