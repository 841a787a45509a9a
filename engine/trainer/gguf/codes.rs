//! The values of a block as whole numbers with scales: what a file's types have in common.

/// A block of `VALUES` values in `PARTS` parts of one size, 16 or 32: each value is `scale * code + shift` of its part.
pub(super) struct Codes<const VALUES: usize, const PARTS: usize> {
    pub codes: [i8; VALUES],
    pub scales: [f32; PARTS],
    /// None where a value is `scale * code`.
    pub shifts: Option<[f32; PARTS]>,
}

impl<const VALUES: usize, const PARTS: usize> Codes<VALUES, PARTS> {
    /// The values of the block.
    #[inline(always)]
    pub fn values(&self) -> [f32; VALUES] {
        let mut values = [0.0; VALUES];
        let parts = values.chunks_exact_mut(VALUES / PARTS).zip(self.codes.chunks_exact(VALUES / PARTS));
        for (part, (values, codes)) in parts.enumerate() {
            let scale = self.scales[part];
            match &self.shifts {
                // A sum with 0 would make 0 of -0.
                None => values.iter_mut().zip(codes).for_each(|(to, code)| *to = scale * f32::from(*code)),
                Some(shifts) => {
                    let shift = shifts[part];
                    values.iter_mut().zip(codes).for_each(|(to, code)| *to = scale * f32::from(*code) + shift);
                }
            }
        }
        values
    }
}

/// Work on blocks, whatever their type.
pub(super) trait ForBlocks {
    /// On values that are stored each by itself, in `BYTES` bytes.
    fn of_numbers<const BYTES: usize>(self, value: impl Fn(&[u8; BYTES]) -> f32 + Copy);

    /// On blocks of `BYTES` bytes. `codes` is `#[inline(always)]`, or it is slow.
    fn of_codes<const BYTES: usize, const VALUES: usize, const PARTS: usize>(
        self,
        codes: impl Fn(&[u8; BYTES]) -> Codes<VALUES, PARTS> + Copy,
    );
}
