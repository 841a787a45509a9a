//! Reads the pieces of a frame front to back: bytes in; arrays, varints and slices out, or a [`WireError`] that says where.
//! Varints are LEB128: seven bits a byte, low bits first, the top bit set on all but the last.

use std::sync::Arc;

use super::WireError;
use super::piece::Piece;

pub(super) struct Cursor<'a> {
    /// The rest of the piece that is being read.
    rest: &'a [u8],
    /// The pieces after it: shared values, bytes, and so on in turn.
    later: &'a [Piece],
    offset: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, later: &[], offset: 0 }
    }

    /// Over several pieces, of which the first has bytes.
    pub(super) fn over(pieces: &'a [Piece]) -> Self {
        match pieces {
            [Piece::Bytes(first), later @ ..] => Self { rest: first, later, offset: 0 },
            _ => Self { rest: &[], later: pieces, offset: 0 },
        }
    }

    /// Bytes read so far.
    pub(super) fn offset(&self) -> usize {
        self.offset
    }

    pub(super) fn remaining(&self) -> usize {
        self.rest.len() + self.later.iter().map(Piece::len).sum::<usize>()
    }

    /// The next `count` values where they are a piece of their own, and whether all are finite.
    pub(super) fn shared(&mut self, count: usize) -> Option<(&'a Arc<Vec<f32>>, bool)> {
        let [Piece::Values(values, finite), Piece::Bytes(next), later @ ..] = self.later else { return None };
        if !self.rest.is_empty() || values.len() != count {
            return None;
        }
        self.offset += 4 * count;
        (self.rest, self.later) = (next, later);
        Some((values, *finite))
    }

    pub(super) fn take(&mut self, bytes: usize) -> Result<&'a [u8], WireError> {
        let truncated = WireError::Truncated { offset: self.offset, needed: bytes, found: self.rest.len() };
        let (head, rest) = self.rest.split_at_checked(bytes).ok_or(truncated)?;
        self.rest = rest;
        self.offset += bytes;
        Ok(head)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// A varint of at most 32 bits.
    pub(super) fn varint(&mut self) -> Result<u32, WireError> {
        let offset = self.offset;
        let mut value = 0u64;
        for shift in (0..35).step_by(7) {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return u32::try_from(value).map_err(|_| WireError::Varint { offset });
            }
        }
        Err(WireError::Varint { offset })
    }
}

pub(super) fn write_varint(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The bytes that [`write_varint`] takes.
pub(super) fn varint_bytes(value: u32) -> usize {
    (value.checked_ilog2().unwrap_or(0) / 7 + 1) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_come_back_and_take_the_bytes_that_were_announced() {
        for value in [0, 1, 127, 128, 16_383, 16_384, 1 << 21, 1 << 28, u32::MAX] {
            let mut bytes = Vec::new();
            write_varint(&mut bytes, value);
            assert_eq!(bytes.len(), varint_bytes(value), "{value}");
            assert_eq!(Cursor::new(&bytes).varint(), Ok(value));
        }
    }

    #[test]
    fn a_varint_beyond_32_bits_is_an_error() {
        for bytes in [[0xff, 0xff, 0xff, 0xff, 0x1f], [0x80; 5]] {
            assert_eq!(Cursor::new(&bytes).varint(), Err(WireError::Varint { offset: 0 }));
        }
    }
}
