//! Products of stored rows with one vector, straight over their blocks: a block's codes are multiplied as they are, and
//! the sums of its parts by the scales. No row is ever written as f32.

use super::codes::{Codes, ForBlocks};
use crate::trainer::kernel::simd::{Lane, multiply_add};
use crate::trainer::kernel::write_number_products;

/// Writes the product of each row with `input`, which is as long as a row.
pub(super) struct RowProducts<'a, I> {
    pub rows: I,
    pub input: &'a [f32],
    pub to: &'a mut [f32],
}

impl<'r, I: Iterator<Item = &'r [u8]>> ForBlocks for RowProducts<'_, I> {
    fn of_numbers<const BYTES: usize>(self, value: impl Fn(&[u8; BYTES]) -> f32 + Copy) {
        write_number_products(self.rows.map(|row| row.as_chunks::<BYTES>().0), value, self.input, self.to);
    }

    fn of_codes<const BYTES: usize, const VALUES: usize, const PARTS: usize>(
        self,
        codes: impl Fn(&[u8; BYTES]) -> Codes<VALUES, PARTS> + Copy,
    ) {
        let input = Input { values: self.input, sums: &part_sums(self.input, VALUES / PARTS) };
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the processor has AVX2 and FMA, as the line above found.
            return unsafe { wide::write(self.rows, &input, self.to, codes) };
        }
        narrow(self.rows, &input, self.to, codes);
    }
}

/// A vector, and the sums of its parts, which a block's shifts are multiplied by.
struct Input<'a> {
    values: &'a [f32],
    sums: &'a [Lane],
}

/// The sum of each part of a vector, lane by lane.
fn part_sums(input: &[f32], part: usize) -> Vec<Lane> {
    let sum = |part: &[f32]| {
        let lanes = part.as_chunks::<8>().0;
        lanes.iter().fold([0.0; 8], |sum: Lane, lane| std::array::from_fn(|at| sum[at] + lane[at]))
    };
    input.chunks_exact(part).map(sum).collect()
}

/// The sum of eight lanes.
#[inline(always)]
fn total(lanes: Lane) -> f32 {
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (b + f)) + ((c + g) + (d + h))
}

/// The products on any processor; the same bits as [`wide::write`].
fn narrow<'r, const BYTES: usize, const VALUES: usize, const PARTS: usize>(
    rows: impl Iterator<Item = &'r [u8]>,
    input: &Input,
    to: &mut [f32],
    codes: impl Fn(&[u8; BYTES]) -> Codes<VALUES, PARTS>,
) {
    let inputs = input.values.as_chunks::<VALUES>().0.iter().zip(input.sums.as_chunks::<PARTS>().0);
    for (row, to) in rows.zip(to) {
        let mut sum: Lane = [0.0; 8];
        for (block, (values, sums)) in row.as_chunks::<BYTES>().0.iter().zip(inputs.clone()) {
            let block = codes(block);
            let size = VALUES / PARTS;
            let parts = block.codes.chunks_exact(size).zip(values.chunks_exact(size)).enumerate();
            for (part, (codes, values)) in parts {
                let mut of_part: Lane = [0.0; 8];
                for (codes, values) in codes.as_chunks::<8>().0.iter().zip(values.as_chunks::<8>().0) {
                    for (lane, sum) in of_part.iter_mut().enumerate() {
                        *sum = f32::from(codes[lane]).mul_add(values[lane], *sum);
                    }
                }
                multiply_add(&mut sum, block.scales[part], &of_part);
                if let Some(shifts) = &block.shifts {
                    multiply_add(&mut sum, shifts[part], &sums[part]);
                }
            }
        }
        *to = total(sum);
    }
}

/// The products with AVX2. Compilers make four lanes of [`narrow`]'s eight and shuffle them: a third of the speed.
#[cfg(target_arch = "x86_64")]
mod wide {
    use std::arch::x86_64::{
        __m256, _mm_cvtsi64_si128, _mm256_cvtepi8_epi32, _mm256_cvtepi32_ps, _mm256_fmadd_ps, _mm256_loadu_ps,
        _mm256_set1_ps, _mm256_setzero_ps, _mm256_storeu_ps,
    };

    use super::{Codes, Input, Lane, total};

    #[target_feature(enable = "avx2,fma")]
    pub fn write<'r, const BYTES: usize, const VALUES: usize, const PARTS: usize>(
        rows: impl Iterator<Item = &'r [u8]>,
        input: &Input,
        to: &mut [f32],
        codes: impl Fn(&[u8; BYTES]) -> Codes<VALUES, PARTS>,
    ) {
        let inputs = input.values.as_chunks::<VALUES>().0.iter().zip(input.sums.as_chunks::<PARTS>().0);
        for (row, to) in rows.zip(to) {
            let mut sum = _mm256_setzero_ps();
            for (block, (values, sums)) in row.as_chunks::<BYTES>().0.iter().zip(inputs.clone()) {
                let block = codes(block);
                let (codes, values) = (block.codes.as_chunks::<8>().0, values.as_chunks::<8>().0);
                let size = VALUES / PARTS / 8;
                for part in 0..PARTS {
                    let mut of_part = _mm256_setzero_ps();
                    for at in part * size..(part + 1) * size {
                        of_part = _mm256_fmadd_ps(floats(&codes[at]), load(&values[at]), of_part);
                    }
                    sum = _mm256_fmadd_ps(_mm256_set1_ps(block.scales[part]), of_part, sum);
                    if let Some(shifts) = &block.shifts {
                        sum = _mm256_fmadd_ps(_mm256_set1_ps(shifts[part]), load(&sums[part]), sum);
                    }
                }
            }
            *to = total(store(sum));
        }
    }

    /// Eight codes as numbers.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn floats(codes: &[i8; 8]) -> __m256 {
        let bytes = i64::from_le_bytes(codes.map(i8::cast_unsigned));
        _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_cvtsi64_si128(bytes)))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn load(lane: &Lane) -> __m256 {
        // SAFETY: a lane is eight f32.
        unsafe { _mm256_loadu_ps(lane.as_ptr()) }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn store(values: __m256) -> Lane {
        let mut lane = [0.0; 8];
        // SAFETY: a lane is eight f32.
        unsafe { _mm256_storeu_ps(lane.as_mut_ptr(), values) };
        lane
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A block of two parts of 16 whose scales are its first bytes.
    fn codes(block: &[u8; 36]) -> Codes<32, 2> {
        let of = |at: usize| f32::from(block[at].cast_signed()) / 7.0;
        let codes = std::array::from_fn(|at| block[4 + at].cast_signed());
        Codes { codes, scales: [of(0), of(1)], shifts: Some([of(2), of(3)]) }
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn wide_and_narrow_vectors_give_the_same_bits() {
        if !(is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")) {
            return;
        }
        let stored: Vec<u8> = (0..36 * 6).map(|at: u32| (at * 7919 + at / 5) as u8).collect();
        let values: Vec<f32> = (0..96).map(|at| (at as f32 * 0.7).sin()).collect();
        let input = Input { values: &values, sums: &part_sums(&values, 16) };
        let (mut one, mut other) = ([0.0; 2], [0.0; 2]);
        narrow(stored.chunks_exact(108), &input, &mut one, codes);
        // SAFETY: the processor has AVX2 and FMA, as was found above.
        unsafe { wide::write(stored.chunks_exact(108), &input, &mut other, codes) };
        assert_eq!(one.map(f32::to_bits), other.map(f32::to_bits));
    }
}
