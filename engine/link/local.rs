//! The in-process link.

use std::sync::Arc;

use crate::metrics::{DirectionMetrics, Metrics};
use crate::wire::{self, ByteSplit, WireError};

/// Carries frames inside one process.
#[derive(Clone)]
pub struct Link {
    metrics: Arc<Metrics>,
    dense_frame: u64,
}

impl Link {
    /// A link that counts into `metrics`; `dense_frame` is the length of a dense f32 frame, bytes.
    pub fn new(metrics: Arc<Metrics>, dense_frame: u64) -> Self {
        Self { metrics, dense_frame }
    }

    /// Says what a frame weighs, by kind.
    ///
    /// # Errors
    /// [`WireError`] when the bytes are not a frame.
    pub fn weigh(&self, frame: &[u8]) -> Result<ByteSplit, WireError> {
        wire::split(frame)
    }

    /// Counts a frame that goes to one client. A broadcast is weighed once and counted once a client.
    pub fn down(&self, split: &ByteSplit) {
        self.count(&self.metrics.download, split);
    }

    /// Counts a frame that only brings one client up to date.
    pub fn catch_up(&self, bytes: u64) {
        self.metrics.download.bytes.catch_up.inc_by(bytes);
        self.metrics.download.frames.inc();
    }

    /// Counts a frame that tells one client how its upload ended.
    pub fn verdict(&self, split: &ByteSplit) {
        self.metrics.download.bytes.add(split.indices, split.values, split.other, split.framing);
        self.metrics.download.frames.inc();
    }

    /// Counts a frame that came to the server.
    pub fn up(&self, split: &ByteSplit) {
        self.count(&self.metrics.upload, split);
    }

    fn count(&self, direction: &DirectionMetrics, split: &ByteSplit) {
        direction.bytes.add(split.indices, split.values, split.other, split.framing);
        direction.frames.inc();
        direction.dense_equivalent_bytes.inc_by(self.dense_frame);
    }
}
