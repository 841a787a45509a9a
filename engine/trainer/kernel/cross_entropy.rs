//! Cross entropy of predicted tokens or classes, its gradient by the logits, and how many predictions are right.

use burn::tensor::{Int, Tensor, TensorData};

use super::{Place, edit, exp};

/// What predictions are worth.
pub(crate) struct Loss {
    /// The sum of the losses in nats.
    pub sum: f64,
    /// Rows whose largest logit, the first of equals, is the target's.
    pub correct: u64,
    /// The gradient of the mean loss by the logits.
    pub gradient: Tensor<2>,
}

/// `logits`: `[rows, choices]`, one row a prediction; `targets`: the right choice of each row, below `choices`.
pub(crate) fn cross_entropy(logits: Tensor<2>, targets: &[u32], place: &Place) -> Loss {
    let [rows, choices] = logits.dims();
    let share = 1.0 / rows as f32;
    if !place.host {
        return on_device(logits, targets, share);
    }
    let (mut sum, mut correct) = (0.0, 0);
    let gradient = edit(logits, |logits| {
        for (logits, target) in logits.chunks_exact_mut(choices).zip(targets) {
            let target = *target as usize;
            let (largest, of_target) = (exp::max(logits), logits[target]);
            if of_target == largest && !logits[..target].contains(&largest) {
                correct += 1;
            }
            for logit in logits.iter_mut() {
                *logit = exp::exp(*logit - largest);
            }
            let of_row = exp::sum(logits);
            sum += f64::from(of_row.ln() - (of_target - largest));
            let factor = share / of_row;
            for logit in logits.iter_mut() {
                *logit *= factor;
            }
            logits[target] -= share;
        }
    });
    Loss { sum, correct, gradient }
}

fn on_device(logits: Tensor<2>, targets: &[u32], share: f32) -> Loss {
    let (rows, device) = (logits.dims()[0], logits.device());
    let targets: Vec<i64> = targets.iter().map(|target| i64::from(*target)).collect();
    let targets: Tensor<2, Int> = Tensor::from_data(TensorData::new(targets, [rows, 1]), &device);
    let hits = logits.clone().argmax(1).equal(targets.clone()).float();
    let shifted = logits.clone() - logits.max_dim(1);
    let exponentials = shifted.clone().exp();
    let sums = exponentials.clone().sum_dim(1);
    let losses = sums.clone().log() - shifted.gather(1, targets.clone());
    let minus_one = Tensor::full([rows, 1], -share, &device);
    let gradient = (exponentials / sums * share).scatter(1, targets, minus_one, burn::tensor::IndexingUpdateOp::Add);
    // One transfer for both.
    let both = Tensor::cat(vec![losses, hits], 0).into_data();
    let (losses, hits) = both.as_slice::<f32>().unwrap_or_default().split_at_checked(rows).unwrap_or_default();
    let sum = losses.iter().map(|loss| f64::from(*loss)).sum();
    Loss { sum, correct: hits.iter().filter(|hit| **hit > 0.5).count() as u64, gradient }
}
