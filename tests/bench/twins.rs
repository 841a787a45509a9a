//! Policies without WebAssembly. flasc's twin is plain Rust that shares nothing with the engine; those of topk-ef and eden
//! call the kernels that the host lends, natively, so that what is left is the price of the sandbox.

use cellm::adapter::{Part, ValueCoding};

/// The twin: the same select and gather, plain and native, nothing shared with the engine. Exact top-k by a histogram of
/// the leading bits of the absolute value, a quick select inside the digit that holds the k-th, one branch-free pass.
pub fn flasc_encode(values: &[f32], k: usize) -> Vec<Part> {
    let key = |value: f32| value.to_bits() & 0x7fff_ffff;
    let mut counts = vec![[0_u32; 1 << 12]; 4];
    for quad in values.chunks_exact(4) {
        for (histogram, value) in counts.iter_mut().zip(quad) {
            histogram[(key(*value) >> 19) as usize] += 1;
        }
    }
    for value in values.chunks_exact(4).remainder() {
        counts[0][(key(*value) >> 19) as usize] += 1;
    }
    let count = |digit: usize| counts.iter().map(|histogram| histogram[digit] as usize).sum::<usize>();
    let (mut digit, mut left) = ((1 << 12) - 1, k);
    while count(digit) < left {
        left -= count(digit);
        digit -= 1;
    }
    let mut keys = Vec::new();
    compact(values, |_, value| (key(value), (key(value) >> 19) as usize == digit), &mut keys);
    let (_, threshold, _) = keys.select_nth_unstable_by(left - 1, |a, b| b.cmp(a));
    let threshold = *threshold;
    let mut indices = Vec::with_capacity(k);
    compact(values, |index, value| (index, key(value) >= threshold), &mut indices);
    let mut surplus = indices.len() - k;
    while surplus > 0 {
        let last = indices.iter().rposition(|index| key(values[*index as usize]) == threshold);
        indices.remove(last.expect("a surplus is of ties"));
        surplus -= 1;
    }
    let sent: Vec<f32> = indices.iter().map(|index| values[*index as usize]).collect();
    let space = values.len() as u32;
    vec![Part::Indices { space, indices }, Part::Values { coding: ValueCoding::F32, values: sent.into() }]
}

/// Appends the first of what `each` gives wherever the second says so.
fn compact(values: &[f32], each: impl Fn(u32, f32) -> (u32, bool), into: &mut Vec<u32>) {
    let mut buffer = [0; 1024];
    let mut index = 0;
    for chunk in values.chunks(buffer.len()) {
        let mut found = 0;
        for value in chunk {
            let (item, taken) = each(index, *value);
            buffer[found % 1024] = item;
            found += usize::from(taken);
            index += 1;
        }
        into.extend_from_slice(&buffer[..found]);
    }
}

pub fn flasc_decode(values: usize, parts: &[Part]) -> Vec<f32> {
    let [Part::Indices { indices, .. }, Part::Values { values: sent, .. }] = parts else { panic!("{parts:?}") };
    let mut whole = vec![0.0; values];
    for (index, value) in indices.iter().zip(&**sent) {
        whole[*index as usize] = *value;
    }
    whole
}

/// Of each chunk of 4096 the largest, as two bits each: Lloyd's levels, rounded to bf16.
pub fn topk_ef_encode(values: &[f32], density: f64) -> Vec<Part> {
    let indices = cellm_kernels::top_k_chunked(values, 0, 4096, (4096.0 * density) as usize);
    let chosen = cellm_kernels::gather(values, &indices);
    let levels = cellm_kernels::lloyd_levels(&chosen, 4, 100);
    let round = |level: &f32| f32::from_bits((level.to_bits() + 0x7fff + (level.to_bits() >> 16 & 1)) & 0xffff_0000);
    let levels: Vec<f32> = levels.iter().map(round).collect();
    let codes = cellm_kernels::quantize(&chosen, &levels);
    let space = values.len() as u32;
    vec![
        Part::Indices { space, indices },
        Part::Values { coding: ValueCoding::Bf16, values: levels.into() },
        Part::Codes { bits: 2, codes },
    ]
}

pub fn topk_ef_decode(values: usize, parts: &[Part]) -> Vec<f32> {
    let [Part::Indices { indices, .. }, Part::Values { values: levels, .. }, Part::Codes { codes, .. }] = parts else {
        panic!("{parts:?}")
    };
    let sent = cellm_kernels::dequantize(codes, levels).expect("every code has a level");
    let mut whole = vec![0.0; values];
    cellm_kernels::scatter(&mut whole, indices, &sent);
    whole
}

/// Best levels of a standard normal at two bits.
const EDEN_LEVELS: [f32; 4] = [-1.510_417_6, -0.452_78, 0.452_78, 1.510_417_6];

/// Two rotations, then two bits a value and a scale a block. The length is a multiple of the block.
pub fn eden_encode(values: &[f32], block: usize, seed: u64) -> Vec<Part> {
    let mut rotated = values.to_vec();
    for turn in 0..2 {
        cellm_kernels::rotate(&mut rotated, block, seed, turn);
    }
    let root = (block as f64).sqrt();
    let norms: Vec<f64> = rotated
        .chunks_mut(block)
        .map(|block| {
            let norm = cellm_kernels::norm(block);
            cellm_kernels::scale(block, (root / norm) as f32);
            norm
        })
        .collect();
    let codes = cellm_kernels::quantize(&rotated, &EDEN_LEVELS);
    let centroids = cellm_kernels::dequantize(&codes, &EDEN_LEVELS).expect("every code has a level");
    let agreements = rotated.chunks(block).zip(centroids.chunks(block)).map(|(a, b)| cellm_kernels::dot(a, b));
    let scales: Vec<f32> = agreements.zip(&norms).map(|(agreement, norm)| (norm * root / agreement) as f32).collect();
    vec![Part::Values { coding: ValueCoding::F32, values: scales.into() }, Part::Codes { bits: 2, codes }]
}

pub fn eden_decode(block: usize, parts: &[Part], seed: u64) -> Vec<f32> {
    let [Part::Values { values: scales, .. }, Part::Codes { codes, .. }] = parts else { panic!("{parts:?}") };
    let mut rotated = cellm_kernels::dequantize(codes, &EDEN_LEVELS).expect("every code has a level");
    for (block, scale) in rotated.chunks_mut(block).zip(&**scales) {
        cellm_kernels::scale(block, *scale);
    }
    for turn in (0..2).rev() {
        cellm_kernels::rotate_back(&mut rotated, block, seed, turn);
    }
    rotated
}
