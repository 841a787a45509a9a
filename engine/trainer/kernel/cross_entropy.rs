//! Cross entropy of predicted tokens or classes, its gradient by the logits, and the number of right predictions.

use burn::tensor::{DType, Int, Tensor, TensorData};

use super::{Place, edit, exp, to_f32};

/// Losses of predictions and their gradient, on the device.
pub(crate) struct Loss {
    /// `[2 * rows, 1]`, f32: the losses in nats, then 1 for each row whose largest logit (the first of equal ones) is
    /// the target's, else 0.
    pub rows: Tensor<2>,
    /// The gradient of the mean loss by the logits.
    pub gradient: Tensor<2>,
}

/// The sum of the losses in nats and the number of right predictions, given [`Loss::rows`].
pub(crate) fn sum_losses(rows: &[f32]) -> (f64, u64) {
    let (losses, hits) = rows.split_at(rows.len() / 2);
    (losses.iter().map(|loss| f64::from(*loss)).sum(), hits.iter().filter(|hit| **hit > 0.5).count() as u64)
}

/// The loss of `logits`, `[rows, choices]`, a row for each prediction. `targets`: the right choice of each row, below
/// `choices`; `all`: the number of rows over which the mean is taken, of which these may be a part.
pub(crate) fn cross_entropy(logits: Tensor<2>, targets: &[u32], all: usize, place: &Place) -> Loss {
    let [rows, choices] = logits.dims();
    let share = 1.0 / all as f32;
    if !place.host {
        return on_device(logits, targets, share);
    }
    let mut sum_losses = vec![0.0; 2 * rows];
    let (losses, hits) = sum_losses.split_at_mut(rows);
    let gradient = edit(logits, |logits| {
        let rows = logits.chunks_exact_mut(choices).zip(targets).zip(losses).zip(hits);
        for (((logits, target), loss), hit) in rows {
            let target = *target as usize;
            let (largest, of_target) = (exp::max(logits), logits[target]);
            if of_target == largest && !logits[..target].contains(&largest) {
                *hit = 1.0;
            }
            for logit in logits.iter_mut() {
                *logit = exp::exp(*logit - largest);
            }
            let of_row = exp::sum(logits);
            *loss = of_row.ln() - (of_target - largest);
            let factor = share / of_row;
            for logit in logits.iter_mut() {
                *logit *= factor;
            }
            logits[target] -= share;
        }
    });
    Loss { rows: place.tensor(sum_losses, [2 * rows, 1]), gradient }
}

fn on_device(logits: Tensor<2>, targets: &[u32], share: f32) -> Loss {
    let (rows, device, dtype) = (logits.dims()[0], logits.device(), logits.dtype());
    let logits = to_f32(logits);
    let targets: Vec<i64> = targets.iter().map(|target| i64::from(*target)).collect();
    let targets: Tensor<2, Int> = Tensor::from_data(TensorData::new(targets, [rows, 1]), &device);
    let hits = logits.clone().argmax(1).equal(targets.clone()).float().cast(DType::F32);
    let shifted = logits.clone() - logits.max_dim(1);
    let exponentials = shifted.clone().exp();
    let sums = exponentials.clone().sum_dim(1);
    let losses = sums.clone().log() - shifted.gather(1, targets.clone());
    let minus_one = Tensor::full([rows, 1], -share, (&device, DType::F32));
    let gradient = (exponentials / sums * share).scatter(1, targets, minus_one, burn::tensor::IndexingUpdateOp::Add);
    Loss { rows: Tensor::cat(vec![losses, hits], 0), gradient: gradient.cast(dtype) }
}
