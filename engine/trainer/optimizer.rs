//! Local optimizers on flat vectors. Their state lives for one local run: it is fresh in every round.

use super::{LocalConfig, OptimizerKind, TrainerError};

const BETA1: f32 = 0.9;
const BETA2: f32 = 0.999;
const EPSILON: f32 = 1e-8;

/// The optimizer of one local run.
pub(super) struct Optimizer {
    kind: OptimizerKind,
    lr: f32,
    momentum: f32,
    weight_decay: f32,
    max_norm: f32,
    steps: i32,
    first: Vec<f32>,
    second: Vec<f32>,
}

impl Optimizer {
    /// State for `values` values, all zero.
    pub fn new(config: &LocalConfig, values: usize) -> Self {
        let second = if config.optimizer == OptimizerKind::Sgd { 0 } else { values };
        Self {
            kind: config.optimizer,
            lr: config.lr as f32,
            momentum: config.momentum,
            weight_decay: config.weight_decay,
            max_norm: config.max_grad_norm,
            steps: 0,
            first: vec![0.0; values],
            second: vec![0.0; second],
        }
    }

    /// Steps `weights` against `gradient`, which is scaled in place where its norm is above `max_grad_norm`.
    ///
    /// # Errors
    /// [`TrainerError::NotFinite`] where the gradient's norm is NaN or infinite; `weights` are untouched then.
    pub fn step(&mut self, weights: &mut [f32], gradient: &mut [f32]) -> Result<(), TrainerError> {
        let norm = gradient.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
        if !norm.is_finite() {
            return Err(TrainerError::NotFinite { what: "the gradient's norm", step: self.steps as u32, value: norm });
        }
        let max_norm = f64::from(self.max_norm);
        if max_norm > 0.0 && norm > max_norm {
            // PyTorch's clip_grad_norm_ adds the same 1e-6.
            let factor = (max_norm / (norm + 1e-6)) as f32;
            gradient.iter_mut().for_each(|value| *value *= factor);
        }
        self.steps += 1;
        match self.kind {
            OptimizerKind::Sgd => self.sgd(weights, gradient),
            OptimizerKind::Adam => self.adam(weights, gradient, self.weight_decay, 0.0),
            OptimizerKind::Adamw => self.adam(weights, gradient, 0.0, self.lr * self.weight_decay),
        }
        Ok(())
    }

    fn sgd(&mut self, weights: &mut [f32], gradient: &[f32]) {
        for ((weight, gradient), velocity) in weights.iter_mut().zip(gradient).zip(&mut self.first) {
            *velocity = self.momentum * *velocity + gradient + self.weight_decay * *weight;
            *weight -= self.lr * *velocity;
        }
    }

    /// `coupled` decay joins the gradient, `decoupled` shrinks the weights directly.
    fn adam(&mut self, weights: &mut [f32], gradient: &[f32], coupled: f32, decoupled: f32) {
        let step = self.lr / (1.0 - BETA1.powi(self.steps));
        let correction = (1.0 - BETA2.powi(self.steps)).sqrt();
        let moments = self.first.iter_mut().zip(&mut self.second);
        for ((weight, gradient), (first, second)) in weights.iter_mut().zip(gradient).zip(moments) {
            let gradient = gradient + coupled * *weight;
            *first = BETA1 * *first + (1.0 - BETA1) * gradient;
            *second = BETA2 * *second + (1.0 - BETA2) * gradient * gradient;
            *weight -= decoupled * *weight;
            *weight -= step * *first / (second.sqrt() / correction + EPSILON);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(optimizer: OptimizerKind, steps: usize) -> Vec<f32> {
        let config =
            LocalConfig { optimizer, lr: 0.1, weight_decay: 0.01, max_grad_norm: 0.0, ..LocalConfig::default() };
        let mut optimizer = Optimizer::new(&config, 2);
        let mut weights = vec![1.0, -2.0];
        for _ in 0..steps {
            let mut gradient: Vec<f32> = weights.iter().map(|weight| 2.0 * weight).collect();
            optimizer.step(&mut weights, &mut gradient).unwrap();
        }
        weights
    }

    fn close(found: &[f32], expected: [f32; 2]) {
        let far = found.iter().zip(expected).any(|(found, expected)| (found - expected).abs() > 1e-5);
        assert!(!far, "{found:?} is not {expected:?}");
    }

    #[test]
    fn three_steps_on_a_parabola_give_what_pytorch_gives() {
        // torch.optim.SGD(lr=0.1, momentum=0.9, weight_decay=0.01), Adam and AdamW alike, loss = (w * w).sum().
        close(&run(OptimizerKind::Sgd, 3), [0.058_194_22, -0.116_388_44]);
        close(&run(OptimizerKind::Adam, 3), [0.701_586_25, -1.700_623_4]);
        close(&run(OptimizerKind::Adamw, 3), [0.698_911_25, -1.694_944_6]);
    }

    #[test]
    fn a_gradient_above_the_limit_is_scaled_down_to_it() {
        let config = LocalConfig { max_grad_norm: 1.0, ..LocalConfig::default() };
        let mut gradient = vec![3.0, 4.0];
        Optimizer::new(&config, 2).step(&mut [0.0, 0.0], &mut gradient).unwrap();
        close(&gradient, [0.6, 0.8]);
    }

    #[test]
    fn a_gradient_that_is_not_finite_is_an_error_and_moves_nothing() {
        let mut weights = [1.0, 2.0];
        let error = Optimizer::new(&LocalConfig::default(), 2).step(&mut weights, &mut [f32::NAN, 0.0]).unwrap_err();
        assert_eq!(error.to_string(), "the gradient's norm is NaN in step 0 of the local training");
        assert_eq!(weights, [1.0, 2.0]);
    }
}
