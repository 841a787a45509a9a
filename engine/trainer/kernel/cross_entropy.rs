//! The causal language-model loss: cross entropy of the predicted tokens, and its gradient by the logits.

use burn::tensor::{Int, Tensor, TensorData};

use super::{Place, edit, exp};

/// The sum of the losses in nats, and the gradient of their mean by the logits.
///
/// `logits`: `[rows, vocabulary]`, one row a predicted token; `targets`: the token of each row, below `vocabulary`.
pub(crate) fn cross_entropy(logits: Tensor<2>, targets: &[u32], place: &Place) -> (f64, Tensor<2>) {
    let [rows, vocabulary] = logits.dims();
    let share = 1.0 / rows as f32;
    if !place.host {
        let targets: Vec<i64> = targets.iter().map(|token| i64::from(*token)).collect();
        let targets: Tensor<2, Int> = Tensor::from_data(TensorData::new(targets, [rows, 1]), &place.device);
        let shifted = logits.clone() - logits.max_dim(1);
        let exponentials = shifted.clone().exp();
        let sums = exponentials.clone().sum_dim(1);
        let losses = sums.clone().log() - shifted.gather(1, targets.clone());
        let minus_one = Tensor::full([rows, 1], -share, &place.device);
        let gradient =
            (exponentials / sums * share).scatter(1, targets, minus_one, burn::tensor::IndexingUpdateOp::Add);
        let losses = losses.into_data();
        return (losses.as_slice::<f32>().unwrap_or_default().iter().map(|loss| f64::from(*loss)).sum(), gradient);
    }
    let mut total = 0.0;
    let gradient = edit(logits, |logits| {
        for (logits, target) in logits.chunks_exact_mut(vocabulary).zip(targets) {
            let target = *target as usize;
            let (largest, of_target) = (exp::max(logits), logits[target]);
            for logit in logits.iter_mut() {
                *logit = exp::exp(*logit - largest);
            }
            let sum = exp::sum(logits);
            total += f64::from(sum.ln() - (of_target - largest));
            let factor = share / sum;
            for logit in logits.iter_mut() {
                *logit *= factor;
            }
            logits[target] -= share;
        }
    });
    (total, gradient)
}
