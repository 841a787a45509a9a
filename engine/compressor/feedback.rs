//! Error feedback: what a message left out is added to the next one (Seide et al. 2014, Karimireddy et al. 2019).
//!
//! In: this round's vector, and what the rounds before left. Out: what to encode, and what that left.

/// `e = decay * residual + x; message = encode(e); residual = e - decode(message)`, for any codec.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ErrorFeedback {
    /// Share of the residual that is carried over; 1 forgets nothing.
    pub decay: f32,
}

impl ErrorFeedback {
    /// The values to encode: `update` plus the decayed residual of before.
    pub fn carry(&self, residual: &[f32], update: &[f32]) -> Vec<f32> {
        assert_eq!(residual.len(), update.len(), "residual and update are of one layout");
        update.iter().zip(residual).map(|(value, left)| value + self.decay * left).collect()
    }

    /// The part of `carried` that the receiver did not get: `carried - decoded`.
    pub fn residual(&self, carried: &[f32], decoded: &[f32]) -> Vec<f32> {
        assert_eq!(carried.len(), decoded.len(), "both are of one layout");
        carried.iter().zip(decoded).map(|(whole, got)| whole - got).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Sends the largest `kept` values, coarsely.
    fn coarse(values: &[f32], kept: usize) -> Vec<f32> {
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|a, b| values[*b].abs().total_cmp(&values[*a].abs()).then(a.cmp(b)));
        let mut sent = vec![0.0; values.len()];
        for at in order.into_iter().take(kept) {
            sent[at] = (values[at] * 8.0).round() / 8.0;
        }
        sent
    }

    /// Distance between the sum of what was meant and the sum of what arrived, after some rounds of a steady update.
    fn lost(update: &[f32], rounds: usize, feedback: Option<ErrorFeedback>) -> f32 {
        let mut residual: Option<Vec<f32>> = None;
        let mut missing = vec![0.0; update.len()];
        for _ in 0..rounds {
            let carried = match (feedback, &residual) {
                (Some(feedback), Some(residual)) => feedback.carry(residual, update),
                _ => update.to_vec(),
            };
            let decoded = coarse(&carried, 2);
            for ((missing, meant), got) in missing.iter_mut().zip(update).zip(&decoded) {
                *missing += meant - got;
            }
            residual = feedback.map(|feedback| feedback.residual(&carried, &decoded));
        }
        missing.iter().map(|value| value * value).sum::<f32>().sqrt()
    }

    #[test]
    fn what_is_left_out_arrives_in_later_rounds() {
        let update = [1.0, -0.9, 0.8, 0.3, -0.2, 0.1];
        let (with, without) = (lost(&update, 40, Some(ErrorFeedback { decay: 1.0 })), lost(&update, 40, None));
        assert!(with < 0.1 * without, "{with} with feedback, {without} without");
        let fading = lost(&update, 40, Some(ErrorFeedback { decay: 0.5 }));
        assert!(with < fading && fading < without, "{with} {fading} {without}");
    }

    proptest! {
        #[test]
        fn what_was_meant_is_what_arrived_and_what_is_left(
            updates in prop::collection::vec(prop::collection::vec(-4..=4_i32, 7), 1..9), kept in 1..7_usize,
        ) {
            // Eighths are exact in f32, so that the sums can be compared to the bit.
            let feedback = ErrorFeedback { decay: 1.0 };
            let (mut meant, mut got, mut residual) = (vec![0.0; 7], vec![0.0; 7], vec![0.0; 7]);
            for update in updates {
                let update: Vec<f32> = update.iter().map(|eighths| *eighths as f32 / 8.0).collect();
                meant.iter_mut().zip(&update).for_each(|(sum, value)| *sum += value);
                let carried = feedback.carry(&residual, &update);
                let decoded = coarse(&carried, kept);
                got.iter_mut().zip(&decoded).for_each(|(sum, value)| *sum += value);
                residual = feedback.residual(&carried, &decoded);
            }
            let whole: Vec<f32> = got.iter().zip(residual).map(|(got, left)| got + left).collect();
            prop_assert_eq!(meant, whole);
        }
    }
}
