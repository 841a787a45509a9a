//! The in-process link.

use std::sync::Arc;

use crate::metrics::Metrics;
use crate::wire::{self, ByteSplit, WireError};

/// Carries frames inside one process.
#[derive(Clone)]
pub struct Link {
    metrics: Arc<Metrics>,
}

impl Link {
    /// A link that counts into `metrics`.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics }
    }

    /// Sends a frame to a client and says what it weighs.
    ///
    /// # Errors
    /// [`WireError`] when the bytes are not a frame.
    pub fn down(&self, frame: &[u8]) -> Result<ByteSplit, WireError> {
        self.carry("download", frame)
    }

    /// Sends a frame to the server and says what it weighs.
    ///
    /// # Errors
    /// [`WireError`] when the bytes are not a frame.
    pub fn up(&self, frame: &[u8]) -> Result<ByteSplit, WireError> {
        self.carry("upload", frame)
    }

    fn carry(&self, direction: &'static str, frame: &[u8]) -> Result<ByteSplit, WireError> {
        let split = wire::split(frame)?;
        self.metrics.wire_bytes(direction, "indices").inc_by(split.indices);
        self.metrics.wire_bytes(direction, "values").inc_by(split.values);
        self.metrics.wire_bytes(direction, "other").inc_by(split.other);
        self.metrics.wire_bytes(direction, "framing").inc_by(split.framing);
        Ok(split)
    }
}
