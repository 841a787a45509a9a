//! The check of a config without a run: everything that a run loads and checks before its first round.

use serde::Serialize;

use super::plan::{Parts, dense_frame_length};
use super::{FederationError, Inputs};
use crate::config::Config;

/// The start of a run as its config gives it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Checked {
    /// Training records of all clients.
    pub examples: u64,
    /// Clients in the roster.
    pub clients: usize,
    /// Adapter values.
    pub values: usize,
    /// Bytes of a dense frame, which the reductions are measured against.
    pub dense_frame_bytes: u64,
    /// Warnings for the operator before the first round.
    pub warnings: Vec<String>,
}

/// Loads model, data and policies, splits the data and tries the policies, as a run does. Blocking.
///
/// # Errors
/// The error that the run would end with before its first round.
pub fn check(config: &Config, inputs: &Inputs) -> Result<Checked, FederationError> {
    let parts = Parts::of(config, inputs.shards(config)?)?;
    let clients = parts.shards.clients();
    let values = parts.shards.trainer().layout().values();
    Ok(Checked {
        examples: (0..clients as u32).map(|client| parts.shards.examples(client)).sum(),
        clients,
        values,
        dense_frame_bytes: dense_frame_length(values)?,
        warnings: parts.warnings(config, false),
    })
}
