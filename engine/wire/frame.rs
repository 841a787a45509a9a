//! A whole frame: header and message in, their bytes out; bytes in, header and message out.

use std::fmt;
use std::sync::Arc;

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::cursor::{Cursor, varint_bytes, write_varint};
use super::part::{self, Head, Spent};
use super::piece::{Piece, hash_values};
use super::{Header, Limits, WireError};
use crate::adapter::{Message, Part};

const CHECKSUM_BYTES: usize = 4;

/// The bytes of a frame by what they carry.
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

    fn add(&mut self, head: &Head) {
        let payload = head.payload_bytes() as u64;
        match head {
            Head::Bytes { .. } => self.other += payload,
            Head::Values { .. } | Head::Codes { .. } => self.values += payload,
            Head::Indices { .. } => self.indices += payload,
        }
    }
}

/// A frame: its bytes, whole and undamaged, with what they say of themselves, read once. Cheap to clone: clones share the
/// bytes.
#[derive(Clone)]
pub struct Frame(Arc<Whole>);

struct Whole {
    header: Header,
    split: ByteSplit,
    /// Bytes before the number of parts.
    front: usize,
    /// The last one is the checksum.
    pieces: Vec<Piece>,
}

impl Frame {
    /// The frame of a message. Long f32 values are shared with it, all else is written once. Costs a look at every byte for
    /// the checksum; Rice-coded indices cost a few nanoseconds each.
    ///
    /// # Errors
    /// When indices do not increase strictly or leave their space, a finite value would become infinite in its coding, the
    /// client's loss is infinite, or something is too large to be counted in 32 bits.
    pub fn encode(header: &Header, message: &Message) -> Result<Self, WireError> {
        let parts = &message.parts;
        let heads: Vec<Head> =
            parts.iter().enumerate().map(|(number, part)| Head::plan(part, number)).collect::<Result<_, _>>()?;
        let limit = u32::MAX as usize;
        let count = u32::try_from(parts.len()).map_err(|_| WireError::TooManyParts { found: parts.len(), limit })?;
        let mut open = Vec::with_capacity(header.bytes() + varint_bytes(count) + room(&heads));
        header.write(&mut open);
        // As a receiver reads it: what does not travel with this kind of frame is not in it.
        let (front, header) = (open.len(), Header::read(&mut Cursor::new(&open))?);
        write_varint(&mut open, count);
        let (mut pieces, mut split, mut hasher) = (Vec::new(), ByteSplit::default(), Xxh3::new());
        for (number, (part, head)) in parts.iter().zip(&heads).enumerate() {
            split.add(head);
            match part {
                Part::Values { values, .. } if head.is_shared() => {
                    head.write(&mut open);
                    hasher.update(&open);
                    let finite = hash_values(values, &mut hasher);
                    let next = Vec::with_capacity(room(&heads[number + 1..]));
                    pieces.push(Piece::Bytes(std::mem::replace(&mut open, next)));
                    pieces.push(Piece::Values(values.clone(), finite));
                }
                _ => part::write(part, head, number, &mut open)?,
            }
        }
        hasher.update(&open);
        let checksum = hasher.digest() as u32;
        pieces.extend([Piece::Bytes(open), Piece::Bytes(checksum.to_le_bytes().into())]);
        split.framing = pieces.iter().map(|piece| piece.len() as u64).sum::<u64>() - split.total();
        Ok(Self(Arc::new(Whole { header, split, front, pieces })))
    }

    /// A frame from its bytes, as they come over a link or out of a store. Any bytes give a frame or an error, never a panic,
    /// and cost no memory.
    ///
    /// # Errors
    /// When the bytes are not laid out as one undamaged frame of this version.
    pub fn read(mut bytes: Vec<u8>) -> Result<Self, WireError> {
        // The magic and the version are read first: a frame of another version may end in another way.
        let mut cursor = Cursor::new(&bytes);
        let (header, front) = (Header::read(&mut cursor)?, cursor.offset());
        let (length, last) = (bytes.len() as u64, bytes.split_off(bytes.len() - CHECKSUM_BYTES));
        let computed = xxh3_64(&bytes) as u32;
        let pieces = vec![Piece::Bytes(bytes), Piece::Bytes(last)];
        let mut cursor = Cursor::over(&pieces[..1]);
        cursor.take(front)?;
        let mut found = [0; CHECKSUM_BYTES];
        pieces[1].copy(0, &mut found);
        let found = u32::from_le_bytes(found);
        if found != computed {
            return Err(WireError::Checksum { found, computed });
        }
        let mut split = ByteSplit::default();
        for number in 0..cursor.varint()? as usize {
            let head = Head::read(&mut cursor, number)?;
            cursor.take(head.payload_bytes())?;
            split.add(&head);
        }
        close(&cursor)?;
        split.framing = length - split.total();
        Ok(Self(Arc::new(Whole { header, split, front, pieces })))
    }

    /// The message in it.
    ///
    /// # Errors
    /// When a part is not what its head says, or beyond the limits.
    pub fn decode(&self, limits: &Limits) -> Result<Message, WireError> {
        if self.len() > limits.bytes {
            return Err(WireError::TooLong { found: self.len(), limit: limits.bytes });
        }
        let Whole { front, pieces, .. } = &*self.0;
        let mut cursor = Cursor::over(&pieces[..pieces.len() - 1]);
        cursor.take(*front)?;
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
        Ok(Message { parts })
    }

    /// Its header.
    pub fn header(&self) -> &Header {
        &self.0.header
    }

    /// Its bytes by what they carry; the four numbers add up to its length.
    pub fn split(&self) -> ByteSplit {
        self.0.split
    }

    /// Its length, bytes.
    #[expect(clippy::len_without_is_empty, reason = "no frame is empty")]
    pub fn len(&self) -> usize {
        self.0.split.total() as usize
    }

    /// Fills `out` with its bytes from `start` on, as far as there are any.
    pub fn copy(&self, mut start: usize, mut out: &mut [u8]) {
        for piece in &self.0.pieces {
            let here = piece.len().saturating_sub(start).min(out.len());
            let (now, rest) = out.split_at_mut(here);
            if here > 0 {
                piece.copy(start, now);
            }
            (start, out) = (start.saturating_sub(piece.len()), rest);
        }
    }

    /// Its bytes in one, copied.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len()];
        self.copy(0, &mut bytes);
        bytes
    }

    /// True where both are clones of one frame.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Frames of the same bytes are equal, whatever their pieces.
impl PartialEq for Frame {
    fn eq(&self, other: &Self) -> bool {
        self.is(other) || self.len() == other.len() && self.to_bytes() == other.to_bytes()
    }
}

impl Eq for Frame {}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The checksum stands for the bytes.
        let Whole { header, split, pieces, .. } = &*self.0;
        let checksum = pieces.last();
        f.debug_struct("Frame").field("header", header).field("split", split).field("checksum", &checksum).finish()
    }
}

/// Bytes of parts with these heads, up to the first whose values are a piece of their own.
fn room(heads: &[Head]) -> usize {
    let mut room = 0;
    for head in heads {
        room += head.head_bytes();
        if head.is_shared() {
            return room;
        }
        room += head.payload_bytes();
    }
    room
}

fn close(cursor: &Cursor<'_>) -> Result<(), WireError> {
    match cursor.remaining() {
        0 => Ok(()),
        found => Err(WireError::Trailing { found }),
    }
}

#[cfg(test)]
mod tests;
