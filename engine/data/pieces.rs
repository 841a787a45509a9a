//! Pieces of text that may each be a record: bytes in; lines, or JSON values over any lines, out. One is held at a time, and of
//! one that is too long only its beginning.

use std::io::BufRead;

/// Bytes that a record may have: 256 MiB, and less in tests, which would write as much.
pub(super) const RECORD_BYTES: usize = if cfg!(test) { 2 << 20 } else { 256 << 20 };

/// The bytes of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u64,
    pub(super) length: u32,
}

/// Bytes without the byte order mark that may stand before them.
pub(super) fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// Lines that are being read, as bytes.
pub(super) struct Lines<R> {
    input: R,
    buffer: Vec<u8>,
    /// The number of the line, from 1.
    pub(super) number: usize,
    pub(super) start: u64,
    /// Bytes read so far.
    pub(super) offset: u64,
    /// More than a record may have: the rest is not in the buffer.
    pub(super) too_long: bool,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, buffer: Vec::new(), number: 0, start: 0, offset: 0, too_long: false }
    }

    /// Reads the next line; false at the end.
    pub(super) fn next(&mut self) -> std::io::Result<bool> {
        self.buffer.clear();
        (self.start, self.too_long) = (self.offset, false);
        loop {
            let chunk = self.input.fill_buf()?;
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let used = end.map_or(chunk.len(), |end| end + 1);
            let room = RECORD_BYTES - self.buffer.len();
            self.buffer.extend_from_slice(&chunk[..used.min(room)]);
            self.too_long |= used > room;
            self.input.consume(used);
            self.offset += used as u64;
            if end.is_some() || used == 0 {
                let any = self.offset > self.start;
                self.number += usize::from(any);
                return Ok(any);
            }
        }
    }

    /// The line without a byte order mark.
    pub(super) fn raw(&self) -> &[u8] {
        if self.number == 1 { without_mark(&self.buffer) } else { &self.buffer }
    }

    /// The line without blanks around it.
    pub(super) fn line(&self) -> &[u8] {
        self.raw().trim_ascii()
    }

    pub(super) fn span(&self) -> Span {
        Span { start: self.start, length: (self.offset - self.start).min(u64::from(u32::MAX)) as u32 }
    }
}

/// JSON values that are being read, whatever lines they are on.
pub(super) struct Values<R> {
    input: R,
    pub(super) bytes: Vec<u8>,
    pub(super) start: u64,
    pub(super) offset: u64,
    pub(super) too_long: bool,
    /// The values are those of a list whose end has not come.
    in_list: bool,
    /// Nothing but blanks may follow.
    ended: bool,
}

impl<R: BufRead> Values<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, bytes: Vec::new(), start: 0, offset: 0, too_long: false, in_list: false, ended: false }
    }

    /// Reads the bytes of the next value; false at the end.
    pub(super) fn next(&mut self) -> std::io::Result<bool> {
        self.bytes.clear();
        self.too_long = false;
        let (mut open, mut quoted, mut escaped) = (0_usize, false, false);
        loop {
            let chunk = self.input.fill_buf()?;
            if chunk.is_empty() {
                return Ok(!self.bytes.is_empty());
            }
            let (mut used, mut done) = (0, false);
            for byte in chunk {
                let place = self.offset + used as u64;
                if self.bytes.is_empty() {
                    used += 1;
                    match byte {
                        b' ' | b'\t' | b'\n' | b'\r' => continue,
                        // The byte order mark.
                        0xef | 0xbb | 0xbf if place < 3 => continue,
                        b',' if self.in_list => continue,
                        b']' if self.in_list => (self.in_list, self.ended) = (false, true),
                        b'[' if !self.ended && !self.in_list => self.in_list = true,
                        _ => {
                            self.start = place;
                            self.bytes.push(*byte);
                            (open, quoted) = (usize::from(matches!(byte, b'{' | b'[')), *byte == b'"');
                        }
                    }
                    continue;
                }
                // A bare value ends before the byte that ends it.
                if open == 0 && !quoted && matches!(byte, b',' | b']' | b'{' | b'\n') {
                    done = true;
                    break;
                }
                used += 1;
                match self.bytes.len() < RECORD_BYTES {
                    true => self.bytes.push(*byte),
                    false => self.too_long = true,
                }
                match byte {
                    _ if escaped => escaped = false,
                    b'\\' if quoted => escaped = true,
                    b'"' => quoted = !quoted,
                    b'{' | b'[' if !quoted => open += 1,
                    b'}' | b']' if !quoted => {
                        open = open.saturating_sub(1);
                        done = open == 0;
                    }
                    _ => {}
                }
                if done {
                    break;
                }
            }
            self.input.consume(used);
            self.offset += used as u64;
            if done {
                return Ok(true);
            }
        }
    }
}
