//! Which values are rotated together: a vector in blocks, each a power of two, and their rotation by a seed.

use cellm_plugin::Vector;

/// The smallest block: in less, values after a rotation are no longer near to normal.
pub const SMALLEST: u32 = 128;

/// Times that the randomized Hadamard transform is applied.
const TURNS: u64 = 2;

/// Neighbouring blocks of one length.
#[derive(Debug, PartialEq)]
pub struct Stretch {
    pub offset: u32,
    pub len: u32,
    /// Values of a block; divides `len`.
    pub block: u32,
}

impl Stretch {
    /// Offset and length of each block.
    pub fn blocks(&self) -> impl Iterator<Item = (u32, u32)> {
        (0..self.len / self.block).map(|number| (self.offset + number * self.block, self.block))
    }
}

/// Covers `values` values: as many blocks of `block` as fit, then ever smaller ones, the last of [`SMALLEST`] with zeros.
pub fn stretches(values: u32, block: u32) -> Vec<Stretch> {
    let mut stretches = Vec::new();
    let (mut offset, mut block) = (0, block);
    while offset < values {
        let left = values - offset;
        let len = if block == SMALLEST { left.next_multiple_of(block) } else { left - left % block };
        if len > 0 {
            stretches.push(Stretch { offset, len, block });
        }
        offset += len;
        block = (block / 2).max(SMALLEST);
    }
    stretches
}

/// Rotates every block, in place; each turn of each stretch draws its signs from a stream of its own.
pub fn rotate(values: &Vector, stretches: &[Stretch], seed: u64) {
    for (number, stretch) in stretches.iter().enumerate() {
        let part = values.slice(stretch.offset, stretch.len);
        for turn in 0..TURNS {
            part.rotate(stretch.block, seed, number as u64 * TURNS + turn);
        }
        values.paste(stretch.offset, &part);
    }
}

/// The inverse of [`rotate`].
pub fn rotate_back(values: &Vector, stretches: &[Stretch], seed: u64) {
    for (number, stretch) in stretches.iter().enumerate() {
        let part = values.slice(stretch.offset, stretch.len);
        for turn in (0..TURNS).rev() {
            part.rotate_back(stretch.block, seed, number as u64 * TURNS + turn);
        }
        values.paste(stretch.offset, &part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_every_value_once_and_add_few_zeros() {
        for values in [0, 1, 127, 128, 129, 1000, 65_535, 65_536, 200_000] {
            for block in [128, 1024, 65_536] {
                let stretches = stretches(values, block);
                let mut end = 0;
                for (offset, len) in stretches.iter().flat_map(Stretch::blocks) {
                    assert_eq!(offset, end);
                    assert!(len.is_power_of_two() && (SMALLEST..=block).contains(&len));
                    end += len;
                }
                assert!((values..values + SMALLEST).contains(&end), "{values} in {block}: {end}");
            }
        }
    }

    #[test]
    fn rotating_back_gives_what_was_there() {
        let stretches = stretches(1000, 512);
        let before = Vector::random_normal(1024, 1, 1);
        let turned = before.copy();
        rotate(&turned, &stretches, 7);
        assert!(turned.distance(&before) > 10.0);
        rotate_back(&turned, &stretches, 7);
        assert!(turned.distance(&before) < 1e-4);
    }
}
