//! The k-quants of llama.cpp: blocks of 256 values in parts of 16 or 32, whose scales are themselves rounded to a few
//! bits.

use super::scale::half;

/// Values of a block.
pub(super) const VALUES: usize = 256;

/// 16 scales and minima of four bits, codes of two bits, the scale of the scales and that of the minima.
pub(super) fn q2_k(block: &[u8; 84]) -> [f32; VALUES] {
    let (scales, codes, scale, least) = (&block[..16], &block[16..80], half(block, 80), half(block, 82));
    let mut values = [0.0; VALUES];
    for (part, to) in values.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let factor = scale * f32::from(scales[part] & 0xf);
        let shift = least * f32::from(scales[part] >> 4);
        let (first, bits) = (32 * (part / 8) + 16 * (part % 2), 2 * (part / 2 % 4));
        for (to, code) in to.iter_mut().zip(&codes[first..first + 16]) {
            *to = factor * f32::from(code >> bits & 3) - shift;
        }
    }
    values
}

/// The third bits of the codes, their lower two, 16 scales of six bits and the scale of these.
pub(super) fn q3_k(block: &[u8; 110]) -> [f32; VALUES] {
    let (high, codes, scales, scale) = (&block[..32], &block[32..96], &block[96..108], half(block, 108));
    let mut values = [0.0; VALUES];
    for (part, to) in values.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let low = scales[part % 8] >> (4 * (part / 8)) & 0xf;
        let upper = scales[8 + part % 4] >> (2 * (part / 4)) & 3;
        let factor = scale * f32::from((low | upper << 4) as i8 - 32);
        let (first, bits) = (32 * (part / 8) + 16 * (part % 2), 2 * (part / 2 % 4));
        let of_high = &high[16 * (part % 2)..][..16];
        for ((to, code), high) in to.iter_mut().zip(&codes[first..first + 16]).zip(of_high) {
            // A third bit that is not set takes 4 away.
            let taken = (high >> (part / 2) & 1 ^ 1) << 2;
            *to = factor * f32::from((code >> bits & 3) as i8 - taken as i8);
        }
    }
    values
}

/// The scale and the minimum of part `part`, six bits each, of 12 bytes.
fn scale_and_least(packed: &[u8], part: usize) -> [f32; 2] {
    let (first, second, third) = (&packed[..4], &packed[4..8], &packed[8..12]);
    let at = part % 4;
    match part < 4 {
        true => [first[at] & 0x3f, second[at] & 0x3f].map(f32::from),
        false => [third[at] & 0xf | first[at] >> 2 & 0x30, third[at] >> 4 | second[at] >> 2 & 0x30].map(f32::from),
    }
}

/// The scale of the scales and that of the minima, both of eight parts, and codes of four bits.
pub(super) fn q4_k(block: &[u8; 144]) -> [f32; VALUES] {
    let (scale, least, packed, codes) = (half(block, 0), half(block, 2), &block[4..16], &block[16..]);
    let mut values = [0.0; VALUES];
    for (part, to) in values.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let [factor, shift] = scale_and_least(packed, part);
        let (factor, shift) = (scale * factor, least * shift);
        let bits = 4 * (part % 2);
        for (to, code) in to.iter_mut().zip(&codes[32 * (part / 2)..][..32]) {
            *to = factor * f32::from(code >> bits & 0xf) - shift;
        }
    }
    values
}

/// As [`q4_k`], with the fifth bits of the codes between.
pub(super) fn q5_k(block: &[u8; 176]) -> [f32; VALUES] {
    let (scale, least, packed) = (half(block, 0), half(block, 2), &block[4..16]);
    let (high, codes) = (&block[16..48], &block[48..]);
    let mut values = [0.0; VALUES];
    for (part, to) in values.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let [factor, shift] = scale_and_least(packed, part);
        let (factor, shift) = (scale * factor, least * shift);
        let bits = 4 * (part % 2);
        for ((to, code), high) in to.iter_mut().zip(&codes[32 * (part / 2)..][..32]).zip(high) {
            *to = factor * f32::from(code >> bits & 0xf | (high >> part & 1) << 4) - shift;
        }
    }
    values
}

/// The lower four bits of the codes, their upper two, 16 scales of eight bits and the scale of these.
pub(super) fn q6_k(block: &[u8; 210]) -> [f32; VALUES] {
    let (low, high, scales, scale) = (&block[..128], &block[128..192], &block[192..208], half(block, 208));
    let mut values = [0.0; VALUES];
    for (part, to) in values.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let factor = scale * f32::from(scales[part] as i8);
        // In parts of 32: half of the block, low or high bits of its bytes, first or second part of them.
        let (wide, within) = (part / 2, 16 * (part % 2));
        let low = &low[64 * (wide / 4) + 32 * (wide % 2) + within..][..16];
        let high = &high[32 * (wide / 4) + within..][..16];
        let (of_low, of_high) = (4 * (wide / 2 % 2), 2 * (wide % 4));
        for ((to, low), high) in to.iter_mut().zip(low).zip(high) {
            let code = low >> of_low & 0xf | (high >> of_high & 3) << 4;
            *to = factor * f32::from(code as i8 - 32);
        }
    }
    values
}
