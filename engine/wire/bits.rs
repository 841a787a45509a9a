//! Bits into bytes and back, low bits first, through a 64-bit buffer.

/// Appends bits to a byte vector.
pub(super) struct BitWriter<'a> {
    out: &'a mut Vec<u8>,
    buffer: u64,
    used: u32,
}

impl<'a> BitWriter<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, buffer: 0, used: 0 }
    }

    /// Appends the low `bits` (at most 63) of `value`; the bits above them must be zero.
    #[inline]
    pub(super) fn put(&mut self, value: u64, bits: u32) {
        debug_assert!(bits < 64 && value >> bits == 0);
        self.buffer |= value << self.used;
        self.used += bits;
        if self.used >= 64 {
            self.out.extend_from_slice(&self.buffer.to_le_bytes());
            self.used -= 64;
            self.buffer = value >> (bits - self.used);
        }
    }

    /// Writes what is left; the last byte is filled with zeros.
    pub(super) fn finish(self) {
        let bytes = self.used.div_ceil(8) as usize;
        self.out.extend_from_slice(&self.buffer.to_le_bytes()[..bytes]);
    }
}

/// Reads up to 64 bits anywhere in a byte slice; beyond its end there are zeros.
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
}

impl<'a> BitReader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// The bits from `position` on, and how many of the word's low bits they fill: 57 to 64.
    #[inline]
    pub(super) fn word(&self, position: usize) -> (u64, u32) {
        let byte = position / 8;
        let shift = (position % 8) as u32;
        let word = match self.bytes.get(byte..).and_then(|rest| rest.first_chunk()) {
            Some(chunk) => u64::from_le_bytes(*chunk),
            None => self.last_word(byte),
        };
        (word >> shift, 64 - shift)
    }

    #[cold]
    fn last_word(&self, byte: usize) -> u64 {
        let rest = self.bytes.get(byte..).unwrap_or_default();
        rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_of_every_length_come_back_from_any_position() {
        let mut out = Vec::new();
        let mut writer = BitWriter::new(&mut out);
        let value = |bits: u32| 0x9e37_79b9_7f4a_7c15_u64 & ((1 << bits) - 1);
        (0..64).for_each(|bits| writer.put(value(bits), bits));
        writer.finish();
        assert_eq!(out.len(), (63 * 64 / 2_usize).div_ceil(8));
        let reader = BitReader::new(&out);
        let mut position = 0;
        for bits in 0..57 {
            assert_eq!(reader.word(position).0 & ((1 << bits) - 1), value(bits));
            position += bits as usize;
        }
    }

    #[test]
    fn beyond_the_end_there_are_zeros() {
        let reader = BitReader::new(&[0xff, 0x01]);
        assert_eq!(reader.word(1), (0xff, 63));
        assert_eq!(reader.word(16).0, 0);
        assert_eq!(reader.word(usize::MAX).0, 0);
    }
}
