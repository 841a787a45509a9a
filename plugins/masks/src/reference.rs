//! By what a mask is chosen, and what a receiver has outside of it.

use cellm_plugin::{IndexSet, OptionInfo, Options, PolicyError, Vector, option};

/// The two choices of the option `reference`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reference {
    /// Ranks `|W - W0|`; outside of the mask the receiver has `W0`.
    Seeded,
    /// Ranks `|W|`; outside of the mask the receiver has zero. What the papers do.
    Zero,
}

impl Reference {
    /// The declaration of the option.
    pub fn option() -> OptionInfo {
        option::choice(
            "reference",
            &["seeded", "zero"],
            "`seeded` ranks |W - W0| and leaves W0 outside of the mask; `zero` ranks |W| and leaves 0 (the papers).",
        )
    }

    /// The value of the option.
    pub fn read(options: &Options) -> Result<Self, PolicyError> {
        Ok(if options.text("reference")? == "zero" { Self::Zero } else { Self::Seeded })
    }

    /// The values whose magnitudes rank the coordinates.
    pub fn scores(self, weights: &Vector, start: &Vector) -> Vector {
        let scores = weights.copy();
        if self == Self::Seeded {
            scores.axpy(-1.0, start);
        }
        scores
    }

    /// The coordinates of the `kept` largest scores.
    pub fn largest(self, weights: &Vector, start: &Vector, kept: u32) -> IndexSet {
        self.scores(weights, start).top_k(0, weights.len(), kept)
    }

    /// The receiver's vector before the values of a mask are written into it.
    pub fn outside(self, start: &Vector) -> Vector {
        match self {
            Self::Seeded => start.copy(),
            Self::Zero => Vector::new(start.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(values: &[f32]) -> Vector {
        let vector = Vector::new(values.len() as u32);
        vector.write(0, values);
        vector
    }

    #[test]
    fn seeded_ranks_what_moved_and_zero_ranks_what_is_large() {
        let (weights, start) = (vector(&[5.0, 1.0, -2.0]), vector(&[5.0, 0.0, 1.0]));
        assert_eq!(Reference::Seeded.largest(&weights, &start, 1).read(0, 1), [2]);
        assert_eq!(Reference::Zero.largest(&weights, &start, 1).read(0, 1), [0]);
    }

    #[test]
    fn outside_of_the_mask_lies_the_start_or_zero() {
        let start = vector(&[5.0, 1.0]);
        assert_eq!(Reference::Seeded.outside(&start).read(0, 2), [5.0, 1.0]);
        assert_eq!(Reference::Zero.outside(&start).read(0, 2), [0.0, 0.0]);
    }
}
