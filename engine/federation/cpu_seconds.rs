//! CPU seconds of a run by purpose: training, evaluation, and everything else.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::metrics::{Metrics, process_cpu_seconds};

/// CPU seconds of this process by what they were for. A resumed run counts what was done since it was resumed.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Timing {
    /// Local training.
    pub training_cpu_s: f64,
    /// Evaluation.
    pub evaluation_cpu_s: f64,
    /// Everything else: actors, policies, frames, the journal, loading. None where the system does not tell, or where
    /// other runs of the process had a part in it.
    pub other_cpu_s: Option<f64>,
    /// Everything else as a share of all, in [0, 1]; none where that is not known.
    pub overhead: Option<f64>,
}

/// Runs of this process that have begun, and those that have ended. The process has one CPU clock for all of them.
static BEGUN: AtomicU64 = AtomicU64::new(0);
static ENDED: AtomicU64 = AtomicU64::new(0);

/// The process's CPU clock when a run began.
pub(super) struct Clock {
    began: Option<f64>,
    /// Its number in the process, from 1; none where another was under way when it began.
    number: Option<u64>,
}

impl Clock {
    /// Starts with the run.
    pub fn start() -> Self {
        let number = BEGUN.fetch_add(1, Ordering::SeqCst) + 1;
        let number = (ENDED.load(Ordering::SeqCst) + 1 == number).then_some(number);
        Self { began: process_cpu_seconds(), number }
    }

    /// CPU seconds by purpose since then.
    pub fn read(&self, metrics: &Metrics) -> Timing {
        let alone = self.number == Some(BEGUN.load(Ordering::SeqCst));
        let all = self.began.zip(process_cpu_seconds()).filter(|_| alone).map(|(began, now)| now - began);
        Timing::of(metrics.training_cpu_seconds.get(), metrics.evaluation_cpu_seconds.get(), all)
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        ENDED.fetch_add(1, Ordering::SeqCst);
    }
}

impl Timing {
    fn of(training_cpu_s: f64, evaluation_cpu_s: f64, all: Option<f64>) -> Self {
        // The two clocks are read at different moments: a few milliseconds below zero are none.
        let other_cpu_s = all.map(|all| (all - training_cpu_s - evaluation_cpu_s).max(0.0));
        let overhead = other_cpu_s.zip(all).filter(|(_, all)| *all > 0.0).map(|(other, all)| (other / all).min(1.0));
        Self { training_cpu_s, evaluation_cpu_s, other_cpu_s, overhead }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_neither_training_nor_evaluation_is_overhead() {
        let timing = Timing::of(6.0, 3.0, Some(10.0));
        assert_eq!((timing.other_cpu_s, timing.overhead), (Some(1.0), Some(0.1)));
        let timing = Timing::of(6.0, 4.01, Some(10.0));
        assert_eq!((timing.other_cpu_s, timing.overhead), (Some(0.0), Some(0.0)));
        assert_eq!(Timing::of(6.0, 3.0, None).overhead, None);
        assert_eq!(Timing::of(0.0, 0.0, Some(0.0)).overhead, None);
    }
}
