//! The bytes of a message on the wire: the engine's codings, counted and not written.

use crate::{IndexSet, Part, ValueCoding};

/// Frame header, number of parts and checksum.
const FRAME: u64 = 34 + 1 + 8;

/// Bytes of a frame with these parts: values and codes packed, index sets as Rice-coded gaps (of what is there or of what is
/// not) or as a bitmap, whichever is shortest. Exact for less than 128 parts.
pub fn wire_bytes(parts: &[Part]) -> u64 {
    FRAME + parts.iter().map(part_bytes).sum::<u64>()
}

fn part_bytes(part: &Part) -> u64 {
    1 + match part {
        Part::Bytes(bytes) => varint(bytes.len() as u64) + bytes.len() as u64,
        Part::Values(coding, values) => {
            let each = if *coding == ValueCoding::F32 { 4 } else { 2 };
            varint(values.len() as u64) + values.len() as u64 * each
        }
        Part::Codes(codes) => {
            let (bits, count) = (u64::from(codes.bits()), u64::from(codes.count()));
            varint(count) + (bits * count).div_ceil(8)
        }
        Part::Indices(set) => {
            let payload = index_bytes(set);
            varint(set.space().into()) + varint(set.count().into()) + varint(payload) + payload
        }
    }
}

fn varint(number: u64) -> u64 {
    u64::from(64 - (number | 1).leading_zeros()).div_ceil(7)
}

fn index_bytes(set: &IndexSet) -> u64 {
    let bitmap = u64::from(set.space()).div_ceil(8);
    let present = rice_bits(&set.read(0, set.count())).div_ceil(8);
    if u64::from(set.count()) * 2 <= set.space().into() {
        return bitmap.min(present);
    }
    let absent = set.complement();
    bitmap.min(present).min(rice_bits(&absent.read(0, absent.count())).div_ceil(8))
}

/// Size of the gaps with the best parameter.
fn rice_bits(indices: &[u32]) -> u64 {
    let size = |k: u32| -> u64 {
        let mut next = 0;
        let quotients = indices.iter().map(|index| {
            let gap = index - next;
            next = index + 1;
            u64::from(gap >> k) + u64::from(1 + k)
        });
        quotients.sum()
    };
    (0..32).map(size).min().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::Codes;

    #[test]
    fn values_and_codes_cost_their_bits() {
        let values = |coding| Part::Values(coding, Rc::new(vec![0.0; 1000]));
        assert_eq!(wire_bytes(&[values(ValueCoding::F32)]), FRAME + 3 + 4000);
        assert_eq!(wire_bytes(&[values(ValueCoding::Bf16)]), FRAME + 3 + 2000);
        assert_eq!(wire_bytes(&[Part::Codes(Codes::from_list(3, &[1; 1000]))]), FRAME + 3 + 375);
        assert_eq!(wire_bytes(&[Part::Bytes(vec![0; 5])]), FRAME + 2 + 5);
    }

    #[test]
    fn indices_cost_what_the_shortest_coding_does() {
        // METHODS: 5.5 bits a kept value at density 1/16.
        let draws = cellm_kernels::random_uniform(160_000, 1, 1);
        let chosen = cellm_kernels::top_k(&draws, 0, 10_000);
        let bits = index_bytes(&IndexSet::from_list(160_000, &chosen).unwrap()) as f64 * 8.0 / 10_000.0;
        assert!((bits - 5.5).abs() < 0.1, "{bits}");
        let few_absent = IndexSet::from_list(160_000, &chosen).unwrap().complement();
        assert_eq!(index_bytes(&few_absent) as f64 * 8.0 / 10_000.0, bits);
        let half = IndexSet::from_list(800, &cellm_kernels::top_k(&draws[..800], 0, 400)).unwrap();
        assert_eq!(index_bytes(&half), 100);
    }
}
