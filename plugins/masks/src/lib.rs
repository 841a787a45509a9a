//! The common part of the masked policies (`sparse-adapter`, `federated-select`, `adapter-lth`): a [`Mask`] of
//! coordinates that down, up and local training are held to, and their body, [`Masked`]. Each policy decides only
//! when the mask changes and how that is told.
//!
//! Goes in: scores by the weights ([`Reference`]), a message that tells a mask ([`Told`]), the memory of client or server.
//! Comes out: the mask, the same at both ends, in memory under `mask.TIER`, so that an upload costs values and no indices.

mod bitmap;
mod mask;
mod masked;
mod reference;
mod told;

pub use mask::Mask;
pub use masked::Masked;
pub use reference::Reference;
pub use told::Told;

use cellm_plugin::{Content, Context, PolicyError};

/// Refuses a download of differences: magnitudes of `W - R` say nothing about those of `W`, by which masks are chosen.
fn needs_weights(policy: &str, context: &Context) -> Result<(), PolicyError> {
    match context.content {
        Content::Difference => Err(PolicyError::Other(format!(
            "{policy} chooses its mask by the weights, which a download of differences does not show: \
             content is 'difference', 'weights' is needed (download.error_feedback = false)"
        ))),
        Content::Weights | Content::Delta => Ok(()),
    }
}
