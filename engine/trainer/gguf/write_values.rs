//! Blocks in, their values out.

use super::codes::{Codes, ForBlocks};
use crate::trainer::kernel::simd::{Loop, run};

/// Writes the values of blocks one after the other; `to` is as long as they are together.
pub(super) struct WriteValues<'a> {
    pub blocks: &'a [u8],
    pub to: &'a mut [f32],
}

impl ForBlocks for WriteValues<'_> {
    fn of_numbers<const BYTES: usize>(self, value: impl Fn(&[u8; BYTES]) -> f32 + Copy) {
        run(Numbers { work: self, value });
    }

    fn of_codes<const BYTES: usize, const VALUES: usize, const PARTS: usize>(
        self,
        codes: impl Fn(&[u8; BYTES]) -> Codes<VALUES, PARTS> + Copy,
    ) {
        run(Blocks { work: self, codes });
    }
}

struct Numbers<'a, F, const BYTES: usize> {
    work: WriteValues<'a>,
    value: F,
}

impl<F: Fn(&[u8; BYTES]) -> f32, const BYTES: usize> Loop for Numbers<'_, F, BYTES> {
    #[inline(always)]
    fn run(self) {
        for (to, bytes) in self.work.to.iter_mut().zip(self.work.blocks.as_chunks().0) {
            *to = (self.value)(bytes);
        }
    }
}

struct Blocks<'a, F, const BYTES: usize, const VALUES: usize, const PARTS: usize> {
    work: WriteValues<'a>,
    codes: F,
}

impl<F, const BYTES: usize, const VALUES: usize, const PARTS: usize> Loop for Blocks<'_, F, BYTES, VALUES, PARTS>
where
    F: Fn(&[u8; BYTES]) -> Codes<VALUES, PARTS>,
{
    #[inline(always)]
    fn run(self) {
        for (to, block) in self.work.to.as_chunks_mut().0.iter_mut().zip(self.work.blocks.as_chunks().0) {
            *to = (self.codes)(block).values();
        }
    }
}
