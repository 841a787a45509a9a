//! LoRA dropout: layers with the same input share one mask, drawn from the client's own random stream.

use burn::tensor::Tensor;
use rand_chacha::ChaCha8Rng;
use rand_core::Rng;

use super::kernel::Place;

/// The masks of a local run, drawn in the order in which they are asked for.
#[derive(Clone)]
pub(super) struct Dropout {
    pub stream: ChaCha8Rng,
    /// Share of the values set to zero, in (0, 1).
    pub share: f32,
}

impl Dropout {
    /// The factors of one mask: 0, or `1 / (1 - share)`.
    pub fn mask(&mut self, shape: [usize; 2], place: &Place) -> Tensor<2> {
        let kept = 1.0 / (1.0 - self.share);
        let limit = (f64::from(self.share) * 2f64.powi(32)) as u32;
        let draw = |_| if self.stream.next_u32() < limit { 0.0 } else { kept };
        place.tensor((0..shape[0] * shape[1]).map(draw).collect(), shape)
    }
}
