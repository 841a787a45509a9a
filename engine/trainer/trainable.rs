//! The trainable coordinates of a local run. In: the coordinates and flat vectors. Out: an optimizer step over these
//! coordinates alone, so that no clip, momentum, decay or rounding ever reaches the others.

use super::TrainerError;
use super::optimizer::Optimizer;
use crate::adapter::AdapterLayout;

/// The trainable coordinates of one local run, with room for their values side by side.
pub(super) struct Trainable<'a> {
    at: &'a [u32],
    weights: Vec<f32>,
    gradient: Vec<f32>,
}

impl<'a> Trainable<'a> {
    /// Takes strictly increasing coordinates of the layout; an empty list trains nothing. Those of residuals are left
    /// out: they are never trained.
    ///
    /// # Errors
    /// [`TrainerError::TrainableOrder`] and [`TrainerError::TrainableRange`], naming the first one that is wrong.
    pub fn new(at: &'a [u32], layout: &AdapterLayout) -> Result<Self, TrainerError> {
        if let Some(number) = at.windows(2).position(|pair| pair[0] >= pair[1]) {
            let [before, found] = [at[number], at[number + 1]];
            return Err(TrainerError::TrainableOrder { number: number + 1, before, found });
        }
        if let Some(found) = at.last().copied().filter(|last| *last as usize >= layout.values()) {
            return Err(TrainerError::TrainableRange { found, expected: layout.values() });
        }
        let at = &at[..at.partition_point(|place| (*place as usize) < layout.trained())];
        Ok(Self { at, weights: vec![0.0; at.len()], gradient: vec![0.0; at.len()] })
    }

    /// Number of trained coordinates.
    pub fn count(&self) -> usize {
        self.at.len()
    }

    /// One step of an optimizer over [`Self::count`] values; the rest of `weights` keeps its bits.
    ///
    /// # Errors
    /// As [`Optimizer::step`].
    pub fn step(
        &mut self,
        optimizer: &mut Optimizer,
        weights: &mut [f32],
        gradient: &[f32],
    ) -> Result<(), TrainerError> {
        let own = self.weights.iter_mut().zip(&mut self.gradient);
        for (place, (own_weight, own_gradient)) in self.at.iter().zip(own) {
            (*own_weight, *own_gradient) = (weights[*place as usize], gradient[*place as usize]);
        }
        optimizer.step(&mut self.weights, &mut self.gradient)?;
        for (place, own_weight) in self.at.iter().zip(&self.weights) {
            weights[*place as usize] = *own_weight;
        }
        Ok(())
    }

    /// Sets all other coordinates to zero.
    pub fn keep(&self, delta: &mut [f32]) {
        let mut next = 0;
        for place in self.at {
            delta[next..*place as usize].fill(0.0);
            next = *place as usize + 1;
        }
        delta[next..].fill(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::{Role, TensorSpec};
    use crate::trainer::{LocalConfig, OptimizerKind};

    fn layout(pair: usize, residual: usize) -> AdapterLayout {
        let spec = |name: &str, role, len| TensorSpec {
            name: name.into(),
            role,
            shape: vec![1, len],
            rank: 1,
            scale: 1.0,
            seed: 0,
        };
        let residual = spec(&TensorSpec::residual_name("layer"), Role::Base, residual);
        AdapterLayout::new(vec![spec("a", Role::LoraA, pair), residual])
    }

    fn error(at: &[u32]) -> String {
        Trainable::new(at, &layout(8, 0)).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn coordinates_out_of_order_or_range_are_refused_with_both_values() {
        assert_eq!(error(&[1, 8]), "trainable coordinate 8 is not below the adapter's 8 values");
        assert_eq!(error(&[1, 2, 2]), "trainable coordinate number 2 is 2, but must be above 2, the one before it");
        assert_eq!(error(&[1, 5, 3]), "trainable coordinate number 2 is 3, but must be above 5, the one before it");
        assert!(Trainable::new(&[], &layout(8, 0)).is_ok() && Trainable::new(&[0, 7], &layout(8, 0)).is_ok());
    }

    #[test]
    fn only_the_chosen_coordinates_are_kept() {
        let mut delta = vec![1.0; 6];
        Trainable::new(&[1, 3, 5], &layout(5, 1)).unwrap().keep(&mut delta);
        assert_eq!(delta, [0.0, 1.0, 0.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn the_norm_is_clipped_over_what_is_trained_alone() {
        let config = LocalConfig {
            optimizer: OptimizerKind::Sgd,
            lr: 1.0,
            momentum: 0.0,
            max_grad_norm: 1.0,
            ..LocalConfig::default()
        };
        let mut trainable = Trainable::new(&[2], &layout(3, 0)).unwrap();
        let mut weights = [1.0, 2.0, 3.0];
        let mut optimizer = Optimizer::new(&config, trainable.count());
        trainable.step(&mut optimizer, &mut weights, &[100.0, -50.0, 0.5]).unwrap();
        assert_eq!(weights, [1.0, 2.0, 2.5]);
    }
}
