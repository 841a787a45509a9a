//! Error feedback as the engine does it for `upload.error_feedback`: what one message leaves out is added to the next.

use super::{Adapter, Harness};
use crate::{Compressor, PolicyError};

/// One client's residual.
#[derive(Debug, Clone)]
pub struct Feedback {
    /// The values that are still owed.
    pub residual: Vec<f32>,
    decay: f32,
}

impl Feedback {
    /// Nothing is owed; `decay` is the engine's `upload.error_decay`.
    pub fn new(adapter: &Adapter, decay: f32) -> Self {
        Self { residual: vec![0.0; adapter.start.len()], decay }
    }

    /// `e = decay * e + delta; message = encode(e); e -= decode(message)`. Gives what was decoded, and the bytes.
    pub fn exchange<P: Compressor>(
        &mut self,
        harness: &mut Harness<P>,
        round: u32,
        client: u32,
        delta: &[f32],
    ) -> Result<(Vec<f32>, u64), PolicyError> {
        cellm_kernels::scale(&mut self.residual, self.decay);
        cellm_kernels::axpy(&mut self.residual, 1.0, delta);
        let sent = harness.upload(round, client, &self.residual)?;
        let decoded = harness.collect(&sent)?;
        cellm_kernels::axpy(&mut self.residual, -1.0, &decoded);
        Ok((decoded, sent.bytes))
    }
}
