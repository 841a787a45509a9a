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
        let weight = self.weight;
        let sum = self.take_sum()?;
        sum.scale((1.0 / weight) as f32);
        Ok(sum)
    }

    /// The weighted sum of what was added, for who divides by something else than the weights; nothing is left.
    ///
    /// # Errors
    /// Nothing was added, or all its weights were zero.
    pub fn take_sum(&mut self) -> Result<Vector, PolicyError> {
        let Self { sum, weight } = std::mem::take(self);
        let sum = sum.ok_or(PolicyError::NoUpdates)?;
        if weight <= 0.0 {
            let message = format!("the weights of the updates sum to {weight}, more than 0 is needed");
            return Err(PolicyError::Other(message));
        }
        Ok(sum)
    }
}

/// The weight of a client.
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

    /// The value of the option.
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

/// A mean in which the clients with the lower losses count for more. Of `n` clients with losses `l_i` and `L = sum of l_i`,
/// the weight is proportional to the sum of the others' losses:
///
/// `w_i = (L - l_i) / ((n - 1) L)`, so the mean is `(sum of u_i - (sum of l_i u_i) / L) / (n - 1)`.
///
/// A client whose loss is not known counts `1 / n`: as if it had the mean of the losses that are known. No client counts for
/// more than `1 / (n - 1)`, whatever loss it claims. A single client, losses that are all zero, or all unknown, count the same.
/// Running sums are enough. Losses are kept as shares of the largest so far, so that one absurd loss overflows nothing.
#[derive(Default)]
pub struct LossMean {
    /// Everything once.
    plain: Mean,
    /// Everything that has a loss, times that loss as a share of `largest`.
    by_loss: Option<Vector>,
    /// Number of updates with a loss.
    known: f64,
    /// The sum of these shares.
    shares: f64,
    largest: f64,
    /// The sum of those without a loss.
    unknown: Option<Vector>,
}

impl LossMean {
    /// Adds the values of a client with this loss (nats a prediction), none if it is not known. All are of one length.
    ///
    /// # Errors
    /// A loss that is none: infinite, negative or not a number.
    pub fn add(&mut self, loss: Option<f64>, values: &Vector) -> Result<(), PolicyError> {
        let Some(loss) = loss else {
            self.plain.add(1.0, values);
            self.unknown.get_or_insert_with(|| Vector::new(values.len())).axpy(1.0, values);
            return Ok(());
        };
        if !loss.is_finite() || loss < 0.0 {
            return Err(PolicyError::Other(format!("a loss of {loss}, it must be finite and at least 0")));
        }
        self.plain.add(1.0, values);
        let by_loss = self.by_loss.get_or_insert_with(|| Vector::new(values.len()));
        if loss > self.largest {
            let shrink = self.largest / loss;
            by_loss.scale(shrink as f32);
            self.shares *= shrink;
            self.largest = loss;
        }
        let share = if self.largest > 0.0 { loss / self.largest } else { 0.0 };
        by_loss.axpy(share as f32, values);
        self.shares += share;
        self.known += 1.0;
        Ok(())
    }

    /// The mean of what was added; nothing is left.
    ///
    /// # Errors
    /// Nothing was added.
    pub fn take(&mut self) -> Result<Vector, PolicyError> {
        let Self { mut plain, by_loss, known, shares, unknown, .. } = std::mem::take(self);
        let clients = plain.weight();
        let mean = plain.take()?;
        let Some(by_loss) = by_loss.filter(|_| clients > 1.0 && shares > 0.0) else {
            return Ok(mean);
        };
        // The losses of all sum to L = shares * n / known, as each that is not known counts as shares / known:
        // n mean - by_loss / L - unknown / n, over n - 1.
        mean.scale((clients / (clients - 1.0)) as f32);
        mean.axpy((-(known / clients) / (shares * (clients - 1.0))) as f32, &by_loss);
        if let Some(unknown) = unknown {
            mean.axpy((-1.0 / (clients * (clients - 1.0))) as f32, &unknown);
        }
        Ok(mean)
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
        mean.add(3.0, &Vector::from_values(vec![2.0, 4.0]));
        assert_eq!(mean.take_sum().unwrap().values(), [6.0, 12.0]);
        assert_eq!(mean.take_sum().map(drop), Err(PolicyError::NoUpdates));
    }

    #[test]
    fn weights_that_sum_to_zero_are_an_error() {
        let mut mean = Mean::default();
        mean.add(0.0, &Vector::from_values(vec![1.0]));
        let expected = "the weights of the updates sum to 0, more than 0 is needed";
        assert_eq!(mean.take().map(drop), Err(PolicyError::Other(expected.into())));
    }
}
