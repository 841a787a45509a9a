//! Blocks of values that are rotated together: each a power of two long, and rotated by a seed.

use cellm_plugin::{Vector, algebra};

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

/// Works on each stretch of `values` in place: `work` gets its number, the stretch and its values. One that is all of them
/// is not copied.
pub fn each<E>(
    values: &Vector,
    stretches: &[Stretch],
    mut work: impl FnMut(u64, &Stretch, &Vector) -> Result<(), E>,
) -> Result<(), E> {
    for (number, stretch) in (0..).zip(stretches) {
        if stretch.len == values.len() {
            work(number, stretch, values)?;
        } else {
            let part = values.slice(stretch.offset, stretch.len);
            work(number, stretch, &part)?;
            values.paste(stretch.offset, &part);
        }
    }
    Ok(())
}

impl Stretch {
    /// Number of blocks.
    pub fn count(&self) -> u32 {
        self.len / self.block
    }

    /// Offset of each block within the stretch.
    pub fn offsets(&self) -> impl Iterator<Item = u32> {
        (0..self.count()).map(|number| number * self.block)
    }

    /// Rotates every block of this stretch, number `number` of its vector; each turn draws its signs from a stream of its own.
    pub fn rotate(&self, values: &Vector, number: u64, seed: u64) {
        for turn in 0..TURNS {
            values.rotate(self.block, seed, number * TURNS + turn);
        }
    }

    /// The inverse of [`rotate`](Self::rotate).
    pub fn rotate_back(&self, values: &Vector, number: u64, seed: u64) {
        for turn in (0..TURNS).rev() {
            values.rotate_back(self.block, seed, number * TURNS + turn);
        }
    }

    /// Multiplies every block by its factor, in place.
    pub fn scale(&self, values: &Vector, factors: &[f32]) {
        let held = Vector::new(factors.len() as u32);
        held.write(0, factors);
        algebra::scale_rows(values, self.block, &held);
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
                for stretch in &stretches {
                    assert_eq!(stretch.offset, end);
                    assert!(stretch.block.is_power_of_two() && (SMALLEST..=block).contains(&stretch.block));
                    assert_eq!(stretch.offsets().count() as u32 * stretch.block, stretch.len);
                    end += stretch.len;
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
        let turn = |work: fn(&Stretch, &Vector, u64, u64)| {
            let done: Result<(), ()> = each(&turned, &stretches, |number, stretch, part| {
                work(stretch, part, number, 7);
                Ok(())
            });
            done.unwrap();
        };
        turn(Stretch::rotate);
        assert!(turned.distance(&before) > 10.0);
        turn(Stretch::rotate_back);
        assert!(turned.distance(&before) < 1e-4);
    }
}
