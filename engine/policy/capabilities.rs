//! A policy's capabilities: promises and needs, as it describes itself.

use super::bindings::cellm::policy::types::Capabilities as Flags;

/// The engine refuses or warns about policies and settings that do not go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Capabilities {
    /// Its decoder at the client uses that client's memory: a broadcast is decoded for each client alone.
    pub stateful_client: bool,
    /// The expectation of what is decoded is what was encoded.
    pub unbiased: bool,
    /// The mean of decoded messages is what decoding the mean would give.
    pub linear: bool,
    /// Values that it leaves out are lost unless error feedback carries them over.
    pub gains_from_error_feedback: bool,
    /// It needs the clients' losses.
    pub needs_loss: bool,
    /// It trains or sends a part of the layout only.
    pub changes_layout: bool,
    /// It sees nothing but sums of updates.
    pub secure_aggregation_ok: bool,
    /// It keeps the updates of a whole cohort until the round is finished.
    pub holds_updates: bool,
}

impl From<Flags> for Capabilities {
    fn from(flags: Flags) -> Self {
        Self {
            stateful_client: flags.contains(Flags::STATEFUL_CLIENT),
            unbiased: flags.contains(Flags::UNBIASED),
            linear: flags.contains(Flags::LINEAR),
            gains_from_error_feedback: flags.contains(Flags::GAINS_FROM_ERROR_FEEDBACK),
            needs_loss: flags.contains(Flags::NEEDS_LOSS),
            changes_layout: flags.contains(Flags::CHANGES_LAYOUT),
            secure_aggregation_ok: flags.contains(Flags::SECURE_AGGREGATION_OK),
            holds_updates: flags.contains(Flags::HOLDS_UPDATES),
        }
    }
}
