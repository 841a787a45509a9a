//! The k-quants of llama.cpp: blocks of 256 values in parts of 16 or 32, whose scales are themselves rounded to a few
//! bits.

use super::codes::Codes;
use super::scale::half;

/// Values of a block.
pub(super) const VALUES: usize = 256;

/// 16 scales and minima of four bits, codes of two bits, the scale of the scales and that of the minima.
#[inline(always)]
pub(super) fn q2_k(block: &[u8; 84]) -> Codes<VALUES, 16> {
    let (packed, bits, scale, least) = (&block[..16], &block[16..80], half(block, 80), half(block, 82));
    let mut codes = [0; VALUES];
    for (part, to) in codes.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let shift = 2 * (part % 4);
        for (to, bits) in to.iter_mut().zip(&bits[32 * (part / 4)..][..32]) {
            *to = (bits >> shift & 3).cast_signed();
        }
    }
    let scales = std::array::from_fn(|part| scale * f32::from(packed[part] & 0xf));
    let shifts = std::array::from_fn(|part| -(least * f32::from(packed[part] >> 4)));
    Codes { codes, scales, shifts: Some(shifts) }
}

/// The third bits of the codes, their lower two, 16 scales of six bits and the scale of these.
#[inline(always)]
pub(super) fn q3_k(block: &[u8; 110]) -> Codes<VALUES, 16> {
    let (high, bits, packed, scale) = (&block[..32], &block[32..96], &block[96..108], half(block, 108));
    let mut codes = [0; VALUES];
    for (part, to) in codes.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let shift = 2 * (part % 4);
        for ((to, bits), high) in to.iter_mut().zip(&bits[32 * (part / 4)..][..32]).zip(high) {
            // A third bit that is not set takes 4 away.
            let taken = (high >> part & 1 ^ 1) << 2;
            *to = (bits >> shift & 3).cast_signed() - taken.cast_signed();
        }
    }
    let scales = std::array::from_fn(|part| {
        let low = packed[part % 8] >> (4 * (part / 8)) & 0xf;
        let upper = packed[8 + part % 4] >> (2 * (part / 4)) & 3;
        scale * f32::from((low | upper << 4).cast_signed() - 32)
    });
    Codes { codes, scales, shifts: None }
}

/// The scales and the minima, six bits each, of eight parts in 12 bytes.
#[inline(always)]
fn scales_and_leasts(packed: &[u8]) -> [[f32; 8]; 2] {
    let (first, second, third) = (&packed[..4], &packed[4..8], &packed[8..12]);
    let scale = |part: usize| match part < 4 {
        true => first[part] & 0x3f,
        false => third[part - 4] & 0xf | first[part - 4] >> 2 & 0x30,
    };
    let least = |part: usize| match part < 4 {
        true => second[part] & 0x3f,
        false => third[part - 4] >> 4 | second[part - 4] >> 2 & 0x30,
    };
    [std::array::from_fn(|part| f32::from(scale(part))), std::array::from_fn(|part| f32::from(least(part)))]
}

/// The scale of the scales and that of the minima, both of eight parts, and codes of four bits.
#[inline(always)]
pub(super) fn q4_k(block: &[u8; 144]) -> Codes<VALUES, 8> {
    let (scale, least, bits) = (half(block, 0), half(block, 2), &block[16..]);
    let [scales, leasts] = scales_and_leasts(&block[4..16]);
    let mut codes = [0; VALUES];
    for (to, bits) in codes.as_chunks_mut::<64>().0.iter_mut().zip(bits.as_chunks::<32>().0) {
        let (low, high) = to.split_at_mut(32);
        for ((low, high), bits) in low.iter_mut().zip(high).zip(bits) {
            *low = (bits & 0xf).cast_signed();
            *high = (bits >> 4).cast_signed();
        }
    }
    Codes { codes, scales: scales.map(|of| scale * of), shifts: Some(leasts.map(|of| -(least * of))) }
}

/// As [`q4_k`], with the fifth bits of the codes between.
#[inline(always)]
pub(super) fn q5_k(block: &[u8; 176]) -> Codes<VALUES, 8> {
    let (scale, least) = (half(block, 0), half(block, 2));
    let (fifth, bits) = (&block[16..48], &block[48..]);
    let [scales, leasts] = scales_and_leasts(&block[4..16]);
    let mut codes = [0; VALUES];
    for (pair, (to, bits)) in codes.as_chunks_mut::<64>().0.iter_mut().zip(bits.as_chunks::<32>().0).enumerate() {
        let (low, high) = to.split_at_mut(32);
        for (((low, high), bits), fifth) in low.iter_mut().zip(high).zip(bits).zip(fifth) {
            let fifth = fifth >> (2 * pair);
            *low = (bits & 0xf | (fifth & 1) << 4).cast_signed();
            *high = (bits >> 4 | (fifth & 2) << 3).cast_signed();
        }
    }
    Codes { codes, scales: scales.map(|of| scale * of), shifts: Some(leasts.map(|of| -(least * of))) }
}

/// The lower four bits of the codes, their upper two, 16 scales of eight bits and the scale of these.
#[inline(always)]
pub(super) fn q6_k(block: &[u8; 210]) -> Codes<VALUES, 16> {
    let (low, high, packed, scale) = (&block[..128], &block[128..192], &block[192..208], half(block, 208));
    let mut codes = [0; VALUES];
    for (part, to) in codes.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        // Half of the block, low or high bits of its bytes, first or second part of them.
        let low = &low[64 * (part / 4) + 32 * (part % 2)..][..32];
        let high = &high[32 * (part / 4)..][..32];
        let (of_low, of_high) = (4 * (part / 2 % 2), 2 * (part % 4));
        for ((to, low), high) in to.iter_mut().zip(low).zip(high) {
            *to = (low >> of_low & 0xf | (high >> of_high & 3) << 4).cast_signed() - 32;
        }
    }
    let scales = std::array::from_fn(|part| scale * f32::from(packed[part].cast_signed()));
    Codes { codes, scales, shifts: None }
}
