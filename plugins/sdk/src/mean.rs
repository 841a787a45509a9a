//! The weighted mean of a cohort as a running sum, and the choice of weights that aggregators offer.

use crate::{OptionInfo, Options, PolicyError, UpdateInfo, Vector, option};

/// The sum of what was added and of its weights. Holds one vector, however many were added.
#[derive(Default)]
pub struct Mean {
    sum: Option<Vector>,
    weight: f64,
}

impl Mean {
    /// `sum += weight * values`. All are of one length.
    pub fn add(&mut self, weight: f64, values: &Vector) {
        let sum = self.sum.get_or_insert_with(|| Vector::new(values.len()));
        sum.axpy(weight as f32, values);
        self.weight += weight;
    }

    /// The sum of the weights so far.
    pub fn weight(&self) -> f64 {
        self.weight
    }

    /// The mean of what was added; nothing is left.
    ///
    /// # Errors
    /// Nothing was added, or all its weights were zero.
    pub fn take(&mut self) -> Result<Vector, PolicyError> {
        let Self { sum, weight } = std::mem::take(self);
        let sum = sum.ok_or(PolicyError::NoUpdates)?;
        if weight <= 0.0 {
            let message = format!("the weights of the updates sum to {weight}, more than 0 is needed");
            return Err(PolicyError::Other(message));
        }
        sum.scale((1.0 / weight) as f32);
        Ok(sum)
    }
}

/// What a client counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weighting {
    /// As much as every other.
    Uniform,
    /// Its number of training examples.
    Examples,
}

impl Weighting {
    /// The option `weighting`, `uniform` or `examples`.
    pub fn option() -> OptionInfo {
        let about = "`uniform` counts every client once, `examples` by its number of training examples.";
        option::choice("weighting", &["uniform", "examples"], about)
    }

    /// What the option says.
    ///
    /// # Errors
    /// The policy does not declare it.
    pub fn of(options: &Options) -> Result<Self, PolicyError> {
        Ok(if options.text("weighting")? == "examples" { Self::Examples } else { Self::Uniform })
    }

    /// The weight of an update.
    pub fn weight(self, info: &UpdateInfo) -> f64 {
        match self {
            Self::Uniform => 1.0,
            Self::Examples => info.examples as f64,
        }
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;

    #[test]
    fn a_mean_weighs_and_leaves_nothing() {
        let mut mean = Mean::default();
        mean.add(1.0, &Vector::from_values(vec![1.0, 0.0]));
        mean.add(3.0, &Vector::from_values(vec![2.0, 4.0]));
        assert_eq!(mean.weight(), 4.0);
        assert_eq!(mean.take().unwrap().values(), [1.75, 3.0]);
        assert_eq!(mean.take().map(drop), Err(PolicyError::NoUpdates));
    }

    #[test]
    fn weights_that_sum_to_zero_are_an_error() {
        let mut mean = Mean::default();
        mean.add(0.0, &Vector::from_values(vec![1.0]));
        let expected = "the weights of the updates sum to 0, more than 0 is needed";
        assert_eq!(mean.take().map(drop), Err(PolicyError::Other(expected.into())));
    }
}
