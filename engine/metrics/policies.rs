//! Durations of a policy's hooks, and the number of its traps.

use std::sync::OnceLock;

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, Registry};

use super::names;
use super::registration::{CALL_SECONDS, counters, histograms};

/// The hooks of a policy; the values of the label `hook`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// Reads the options.
    Init,
    /// Says what it will send.
    Plan,
    /// Values to a message.
    Encode,
    /// A message to values.
    Decode,
    /// Learns what the other side has.
    OnAck,
    /// Begins a round's aggregation.
    Begin,
    /// Takes one update.
    Accept,
    /// Gives the aggregate.
    Finish,
    /// Makes what a client needs that has missed rounds.
    EncodeCatchUp,
    /// Takes it in.
    DecodeCatchUp,
    /// Takes the server's step.
    Step,
}

const HOOKS: [(Hook, &str); 11] = [
    (Hook::Init, "init"),
    (Hook::Plan, "plan"),
    (Hook::Encode, "encode"),
    (Hook::Decode, "decode"),
    (Hook::OnAck, "on-ack"),
    (Hook::Begin, "begin"),
    (Hook::Accept, "accept"),
    (Hook::Finish, "finish"),
    (Hook::EncodeCatchUp, "encode-catch-up"),
    (Hook::DecodeCatchUp, "decode-catch-up"),
    (Hook::Step, "step"),
];

/// One policy's metrics; made once a policy, then shared.
#[derive(Debug)]
pub struct PolicyMetrics {
    /// Calls that ended in a trap, a deadline or a limit.
    pub traps: IntCounter,
    policy: String,
    family: HistogramVec,
    calls: [OnceLock<Histogram>; HOOKS.len()],
}

impl PolicyMetrics {
    /// Seconds of calls of a hook, those that trapped included.
    pub fn call_seconds(&self, hook: Hook) -> &Histogram {
        let (_, name) = HOOKS[hook as usize];
        self.calls[hook as usize].get_or_init(|| self.family.with_label_values(&[self.policy.as_str(), name]))
    }
}

/// The families that all policies share.
pub(super) struct Policies {
    calls: HistogramVec,
    traps: IntCounterVec,
}

impl Policies {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            calls: histograms(
                registry,
                names::POLICY_CALL_DURATION,
                "Seconds of a policy call, by policy and hook.",
                &["policy", "hook"],
                CALL_SECONDS,
            ),
            traps: counters(
                registry,
                names::POLICY_TRAPS,
                "Policy calls that ended in a trap, a deadline or a limit, by policy.",
                &["policy"],
            ),
        }
    }

    pub(super) fn get(&self, policy: &str) -> PolicyMetrics {
        PolicyMetrics {
            traps: self.traps.with_label_values(&[policy]),
            policy: policy.into(),
            family: self.calls.clone(),
            calls: Default::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hook_stands_at_its_own_place() {
        for (place, (hook, name)) in HOOKS.into_iter().enumerate() {
            assert_eq!(hook as usize, place, "{name}");
        }
    }
}
