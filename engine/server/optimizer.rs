//! Server optimizers: how the aggregated delta `G` moves the server's dense copy `W`. `-G` is the pseudo-gradient.

use std::sync::Arc;

use super::{Config, OptimizerKind};
use crate::journal::StoredOptimizer;

/// A server optimizer and its state. Cheap to clone until it steps.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerOptimizer {
    kind: OptimizerKind,
    lr: f32,
    momentum: f32,
    beta2: f32,
    tau: f32,
    steps: u32,
    /// The first moment, then the second, as far as the rule has them.
    moments: Arc<Vec<f32>>,
}

/// Stored optimizer state that does not fit this run.
#[derive(Debug, thiserror::Error)]
#[error("the stored server optimizer has {found} moments, {expected} expected")]
pub struct StateError {
    found: usize,
    expected: usize,
}

impl ServerOptimizer {
    /// A fresh optimizer for `values` adapter values.
    pub fn new(config: &Config, values: usize) -> Self {
        let moments = match config.optimizer {
            OptimizerKind::FedAvg => 0,
            OptimizerKind::FedAvgM => 1,
            OptimizerKind::FedAdam | OptimizerKind::FedYogi | OptimizerKind::FedAdagrad => 2,
        };
        Self {
            kind: config.optimizer,
            lr: config.lr,
            momentum: config.momentum,
            beta2: config.beta2,
            tau: config.tau,
            steps: 0,
            moments: Arc::new(vec![0.0; moments * values]),
        }
    }

    /// Moves `weights` by the aggregated `update`, both of the length given to [`ServerOptimizer::new`].
    pub fn step(&mut self, weights: &mut [f32], update: &[f32]) {
        assert_eq!(weights.len(), update.len(), "weights and update are of one layout");
        self.steps += 1;
        match self.kind {
            OptimizerKind::FedAvg => {
                for (weight, delta) in weights.iter_mut().zip(update) {
                    *weight += self.lr * delta;
                }
            }
            OptimizerKind::FedAvgM => self.step_momentum(weights, update),
            OptimizerKind::FedAdam => {
                let beta2 = self.beta2;
                let bias = self.second_bias();
                self.step_adaptive(weights, update, bias, |second, square| beta2 * second + (1.0 - beta2) * square);
            }
            OptimizerKind::FedYogi => {
                let beta2 = self.beta2;
                let bias = self.second_bias();
                // `signum` of a zero difference is not zero in Rust, but the square times it changes nothing then.
                self.step_adaptive(weights, update, bias, |second, square| {
                    second - (1.0 - beta2) * square * (second - square).signum()
                });
            }
            // The second moment is a sum and no mean, so it has no bias.
            OptimizerKind::FedAdagrad => self.step_adaptive(weights, update, 1.0, |second, square| second + square),
        }
    }

    /// Hsu et al. 2019: `v = momentum * v + G; W += lr * v`.
    fn step_momentum(&mut self, weights: &mut [f32], update: &[f32]) {
        let (momentum, lr) = (self.momentum, self.lr);
        for ((weight, delta), velocity) in weights.iter_mut().zip(update).zip(Arc::make_mut(&mut self.moments)) {
            *velocity = momentum * *velocity + delta;
            *weight += lr * *velocity;
        }
    }

    /// Reddi et al. 2021, Alg. 2, with Adam's bias correction as in the FLASC reference code.
    fn step_adaptive(
        &mut self,
        weights: &mut [f32],
        update: &[f32],
        second_bias: f32,
        moment: impl Fn(f32, f32) -> f32,
    ) {
        let (momentum, lr, tau) = (self.momentum, self.lr, self.tau);
        let first_bias = 1.0 - momentum.powi(self.steps.min(i32::MAX as u32) as i32);
        let (first, second) = Arc::make_mut(&mut self.moments).split_at_mut(weights.len());
        for (((weight, delta), first), second) in weights.iter_mut().zip(update).zip(first).zip(second) {
            *first = momentum * *first + (1.0 - momentum) * delta;
            *second = moment(*second, delta * delta);
            *weight += lr * (*first / first_bias) / ((*second / second_bias).max(0.0).sqrt() + tau);
        }
    }

    /// What a running mean by `beta2` has seen so far of what it will see in the end.
    fn second_bias(&self) -> f32 {
        1.0 - self.beta2.powi(self.steps.min(i32::MAX as u32) as i32)
    }

    /// The first moment, then the second; empty where the rule has none.
    pub fn moments(&self) -> &[f32] {
        &self.moments
    }

    /// The state for the journal.
    pub fn state(&self) -> StoredOptimizer {
        StoredOptimizer { steps: self.steps, moments: self.moments.clone() }
    }

    /// Takes back what [`ServerOptimizer::state`] gave, into an optimizer made by [`ServerOptimizer::new`].
    ///
    /// # Errors
    /// [`StateError`] when the number of moments is another.
    pub fn restore(&mut self, state: &StoredOptimizer) -> Result<(), StateError> {
        let (found, expected) = (state.moments.len(), self.moments.len());
        if found != expected {
            return Err(StateError { found, expected });
        }
        (self.steps, self.moments) = (state.steps, state.moments.clone());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(optimizer: OptimizerKind) -> Config {
        Config { optimizer, lr: 0.5, momentum: 0.9, beta2: 0.99, tau: 1e-3, ..Config::default() }
    }

    #[test]
    fn fedavg_adds_the_scaled_mean() {
        let mut weights = vec![1.0, 2.0];
        ServerOptimizer::new(&config(OptimizerKind::FedAvg), 2).step(&mut weights, &[0.2, -0.4]);
        assert_eq!(weights, [1.1, 1.8]);
    }

    #[test]
    fn fedavgm_builds_up_speed() {
        let mut optimizer = ServerOptimizer::new(&config(OptimizerKind::FedAvgM), 1);
        let mut weights = vec![0.0];
        optimizer.step(&mut weights, &[1.0]);
        optimizer.step(&mut weights, &[1.0]);
        assert!((weights[0] - (0.5 + 0.95)).abs() < 1e-6);
    }

    #[test]
    fn the_first_adaptive_step_is_about_lr_whatever_the_size_of_the_update() {
        for kind in [OptimizerKind::FedAdam, OptimizerKind::FedYogi, OptimizerKind::FedAdagrad] {
            for size in [1.0, 100.0] {
                let mut weights = vec![0.0];
                ServerOptimizer::new(&config(kind), 1).step(&mut weights, &[size]);
                assert!((weights[0] - 0.5).abs() < 2e-3, "{kind:?} {size} {weights:?}");
            }
        }
    }

    #[test]
    fn yogi_forgets_a_large_update_more_slowly_than_adam() {
        let second_after = |kind| {
            let mut optimizer = ServerOptimizer::new(&config(kind), 1);
            let mut weights = vec![0.0];
            optimizer.step(&mut weights, &[10.0]);
            for _ in 0..50 {
                optimizer.step(&mut weights, &[0.1]);
            }
            optimizer.moments()[1]
        };
        assert!(second_after(OptimizerKind::FedYogi) > 1.3 * second_after(OptimizerKind::FedAdam));
    }

    #[test]
    fn adagrad_steps_shrink_with_the_root_of_what_was_seen() {
        let mut optimizer = ServerOptimizer::new(&Config { momentum: 0.0, ..config(OptimizerKind::FedAdagrad) }, 1);
        let mut weights = vec![0.0];
        let mut before = 0.0;
        for round in 1..=9 {
            optimizer.step(&mut weights, &[1.0]);
            let (step, expected) = (weights[0] - before, 0.5 / (round as f32).sqrt());
            assert!((step - expected).abs() < 1e-3, "round {round}: {step} and {expected}");
            before = weights[0];
        }
    }

    #[test]
    fn a_restored_optimizer_goes_on_to_the_bit() {
        use OptimizerKind::{FedAdagrad, FedAdam, FedAvg, FedAvgM, FedYogi};
        for kind in [FedAvg, FedAvgM, FedAdam, FedYogi, FedAdagrad] {
            let mut whole = ServerOptimizer::new(&config(kind), 3);
            let mut weights = vec![0.1, 0.2, 0.3];
            whole.step(&mut weights, &[0.3, -0.1, 0.0]);
            let mut restored = ServerOptimizer::new(&config(kind), 3);
            restored.restore(&whole.state()).unwrap();
            assert_eq!(whole, restored);
            let other = StoredOptimizer { steps: 1, moments: vec![0.0; 5].into() };
            assert!(restored.restore(&other).is_err());
        }
    }
}
