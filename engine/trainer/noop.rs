//! A trainer that makes its delta up: no model, no data, next to no time. It measures everything around training.

use super::trainable::Trainable;
use super::{TrainKey, Trained, TrainerError};
use crate::adapter::{AdapterDelta, AdapterLayout};
use crate::random::{Purpose, stream};

use rand_core::Rng;

/// Values that are drawn; the delta repeats them.
const BLOCK: usize = 4096;

/// A delta of values in +-0.001, a counter-based function of the key alone; zero outside `trainable`, where it is given,
/// and in residuals.
///
/// # Errors
/// [`TrainerError`] where the trainable coordinates do not increase or do not fit the layout.
pub fn noop_train(layout: &AdapterLayout, key: TrainKey, trainable: Option<&[u32]>) -> Result<Trained, TrainerError> {
    let mut stream = stream(key.seed, Purpose::NoopDelta, key.round, key.client);
    let mut draw = || (stream.next_u32() as i32 >> 8) as f32 * (0.001 / (1 << 23) as f32);
    let block: [f32; BLOCK] = std::array::from_fn(|_| draw());
    let mut values = Vec::with_capacity(layout.values());
    while values.len() < layout.values() {
        values.extend_from_slice(&block[..BLOCK.min(layout.values() - values.len())]);
    }
    if let Some(at) = trainable {
        Trainable::new(at, layout)?.keep(&mut values);
    }
    values[layout.trained()..].fill(0.0);
    Ok(Trained { delta: AdapterDelta(values), loss: 0.0, steps: 0, tokens: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::{Role, TensorSpec};

    #[test]
    fn the_delta_follows_its_key_and_stays_small() {
        let spec =
            TensorSpec { name: "a".into(), role: Role::LoraA, shape: vec![100, 100], rank: 8, scale: 1.0, seed: 0 };
        let layout = AdapterLayout::new(vec![spec]);
        let delta = |client| noop_train(&layout, TrainKey { seed: 1, round: 2, client }, None).unwrap().delta.0;
        assert_eq!(delta(3), delta(3));
        assert_ne!(delta(3), delta(4));
        let values = delta(3);
        assert!(values.iter().all(|value| value.abs() <= 0.001));
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        assert!(mean.abs() < 3e-5, "{mean}");
        let part = noop_train(&layout, TrainKey { seed: 1, round: 2, client: 3 }, Some(&[7, 9000])).unwrap().delta.0;
        let moved: Vec<_> = (0..part.len()).filter(|at| part[*at] != 0.0).collect();
        assert_eq!((moved, part[7], part[9000]), (vec![7, 9000], values[7], values[9000]));
        assert!(noop_train(&layout, TrainKey { seed: 1, round: 2, client: 3 }, Some(&[10_000])).is_err());
    }
}
