//! A whole frame: header and message in, bytes out; bytes in, header and message out.

use xxhash_rust::xxh3::xxh3_64;

use super::cursor::{Cursor, varint_bytes, write_varint};
use super::part::{self, Head, Spent};
use super::{Header, Limits, WireError};
use crate::adapter::Message;

const CHECKSUM_BYTES: usize = 4;

/// Where the bytes of a frame go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ByteSplit {
    /// Payloads of index parts.
    pub indices: u64,
    /// Payloads of value parts and of codes.
    pub values: u64,
    /// Payloads of parts that the policy coded by itself.
    pub other: u64,
    /// Header, heads of the parts, checksum.
    pub framing: u64,
}

impl ByteSplit {
    /// The length of the frame.
    pub fn total(&self) -> u64 {
        self.indices + self.values + self.other + self.framing
    }
}

/// Makes the bytes of a frame, in one allocation of their exact number. A dense f32 message costs about two copies of
/// its bytes; Rice-coded indices cost a few nanoseconds each.
///
/// # Errors
/// When indices do not increase strictly or leave their space, a finite value would become infinite in its coding,
/// or something is too large to be counted in 32 bits.
pub fn encode(header: &Header, message: &Message) -> Result<Vec<u8>, WireError> {
    let parts = &message.parts;
    let heads: Vec<Head> =
        parts.iter().enumerate().map(|(number, part)| Head::plan(part, number)).collect::<Result<_, _>>()?;
    let limit = u32::MAX as usize;
    let count = u32::try_from(parts.len()).map_err(|_| WireError::TooManyParts { found: parts.len(), limit })?;
    let parts_bytes: usize = heads.iter().map(|head| head.head_bytes() + head.payload_bytes()).sum();
    let total = header.bytes() + varint_bytes(count) + parts_bytes + CHECKSUM_BYTES;
    let mut out = Vec::with_capacity(total);
    header.write(&mut out);
    write_varint(&mut out, count);
    for (number, (part, head)) in parts.iter().zip(&heads).enumerate() {
        part::write(part, head, number, &mut out)?;
    }
    out.extend_from_slice(&checksum(&out).to_le_bytes());
    debug_assert_eq!(out.len(), total);
    Ok(out)
}

/// Reads the bytes of a frame. Any bytes give a frame or an error, never a panic.
///
/// # Errors
/// When the bytes are not exactly one undamaged frame of this version within the limits.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<(Header, Message), WireError> {
    if bytes.len() > limits.bytes {
        return Err(WireError::TooLong { found: bytes.len(), limit: limits.bytes });
    }
    let (header, mut cursor) = open(bytes)?;
    let body = &bytes[..bytes.len() - CHECKSUM_BYTES];
    let mut found = [0; CHECKSUM_BYTES];
    found.copy_from_slice(&bytes[body.len()..]);
    let (found, computed) = (u32::from_le_bytes(found), checksum(body));
    if found != computed {
        return Err(WireError::Checksum { found, computed });
    }
    let count = cursor.varint()? as usize;
    if count > limits.parts {
        return Err(WireError::TooManyParts { found: count, limit: limits.parts });
    }
    let mut spent = Spent::default();
    let mut parts = Vec::new();
    for number in 0..count {
        parts.push(part::read(&mut cursor, limits, &mut spent, number)?);
    }
    close(&cursor)?;
    Ok((header, Message { parts }))
}

/// Says where the bytes of a frame go; the four numbers add up to its length. Reads heads only and does not
/// verify the checksum.
///
/// # Errors
/// When the bytes are not laid out as a frame of this version.
pub fn split(bytes: &[u8]) -> Result<ByteSplit, WireError> {
    let (_, mut cursor) = open(bytes)?;
    let mut split = ByteSplit::default();
    let count = cursor.varint()? as usize;
    for number in 0..count {
        let head = Head::read(&mut cursor, number)?;
        let payload = cursor.take(head.payload_bytes())?.len() as u64;
        match head {
            Head::Bytes { .. } => split.other += payload,
            Head::Values { .. } | Head::Codes { .. } => split.values += payload,
            Head::Indices { .. } => split.indices += payload,
        }
    }
    close(&cursor)?;
    split.framing = bytes.len() as u64 - split.indices - split.values - split.other;
    Ok(split)
}

/// What a frame says about itself. Does not look further than its front.
///
/// # Errors
/// When the bytes do not begin like a frame of this version.
pub fn header(bytes: &[u8]) -> Result<Header, WireError> {
    Header::read(&mut Cursor::new(bytes))
}

/// The header, and a cursor over what lies between it and the checksum.
fn open(bytes: &[u8]) -> Result<(Header, Cursor<'_>), WireError> {
    // The magic and the version are read first: a frame of another version may end in another way.
    let mut front = Cursor::new(bytes);
    let header = Header::read(&mut front)?;
    let body = bytes.len().saturating_sub(CHECKSUM_BYTES);
    let mut cursor = Cursor::new(&bytes[..body]);
    cursor.take(bytes.len() - front.remaining())?;
    Ok((header, cursor))
}

/// The lower half of xxh3-64.
fn checksum(bytes: &[u8]) -> u32 {
    xxh3_64(bytes) as u32
}

fn close(cursor: &Cursor<'_>) -> Result<(), WireError> {
    match cursor.remaining() {
        0 => Ok(()),
        found => Err(WireError::Trailing { found }),
    }
}

#[cfg(test)]
mod tests;
