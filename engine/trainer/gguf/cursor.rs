//! A place in a file: little-endian numbers and texts out, with an error that names the part that the file is too short
//! for.

/// Bytes and the place of the next one.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Cursor<'a> {
    /// At the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// The index of the next byte.
    pub fn position(&self) -> usize {
        self.position
    }

    /// The bytes from `start` to the next one.
    pub fn since(&self, start: usize) -> &'a [u8] {
        &self.bytes[start..self.position]
    }

    /// The next `count` bytes; `part` is their name in the error.
    ///
    /// # Errors
    /// The file ends before.
    pub fn take(&mut self, count: u64, part: &str) -> Result<&'a [u8], String> {
        let left = self.bytes.len() - self.position;
        match usize::try_from(count).ok().filter(|count| *count <= left) {
            Some(count) => {
                let taken = &self.bytes[self.position..self.position + count];
                self.position += count;
                Ok(taken)
            }
            None => {
                Err(format!("{part} has {count} bytes from byte {} on, but the file has {left} more", self.position))
            }
        }
    }

    /// Passes over `count` bytes.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn skip(&mut self, count: u64, part: &str) -> Result<(), String> {
        self.take(count, part).map(|_| ())
    }

    /// A 32-bit number.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn u32(&mut self, part: &str) -> Result<u32, String> {
        let bytes = self.take(4, part)?;
        Ok(bytes.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes)))
    }

    /// A 64-bit number.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn u64(&mut self, part: &str) -> Result<u64, String> {
        let bytes = self.take(8, part)?;
        Ok(bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes)))
    }

    /// A text's bytes, behind their number.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn text(&mut self, part: &str) -> Result<&'a [u8], String> {
        let length = self.u64(part)?;
        self.take(length, part)
    }
}
