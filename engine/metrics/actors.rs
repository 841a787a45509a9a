//! Mailbox depth and restarts of each kind of actor.

use prometheus::{IntCounter, IntGauge, Registry};

use super::families::{counters, gauges};
use super::names;

/// The actors that are watched; the values of the label `actor`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    /// The round loop.
    Server,
    /// Participants, all together.
    Client,
    /// Compressor workers, all together.
    Compressor,
    /// Trainer workers, all together.
    Trainer,
    /// The aggregator.
    Aggregator,
    /// The journal.
    Journal,
    /// What carries the frames.
    Link,
    /// The endpoint that serves these metrics.
    MetricsExporter,
}

const ACTORS: [(Actor, &str); 8] = [
    (Actor::Server, "server"),
    (Actor::Client, "client"),
    (Actor::Compressor, "compressor"),
    (Actor::Trainer, "trainer"),
    (Actor::Aggregator, "aggregator"),
    (Actor::Journal, "journal"),
    (Actor::Link, "link"),
    (Actor::MetricsExporter, "metrics_exporter"),
];

/// What is watched of a kind of actor.
#[derive(Debug, Clone)]
pub struct ActorMetrics {
    /// Requests sent to it that it has not begun to handle.
    pub mailbox_depth: IntGauge,
    /// Times it was started anew after a crash.
    pub restarts: IntCounter,
}

/// All kinds, at 0 from the start, so that the first restart shows as an increase.
pub(super) struct Actors([ActorMetrics; ACTORS.len()]);

impl Actors {
    pub(super) fn new(registry: &Registry) -> Self {
        let depth =
            gauges(registry, names::MAILBOX_DEPTH, "Requests that wait in mailboxes, by kind of actor.", &["actor"]);
        let restarts =
            counters(registry, names::ACTOR_RESTARTS, "Actors started anew after a crash, by kind.", &["actor"]);
        Self(ACTORS.map(|(_, name)| ActorMetrics {
            mailbox_depth: depth.with_label_values(&[name]),
            restarts: restarts.with_label_values(&[name]),
        }))
    }

    pub(super) fn get(&self, actor: Actor) -> &ActorMetrics {
        &self.0[actor as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_actor_stands_at_its_own_place() {
        for (place, (actor, name)) in ACTORS.into_iter().enumerate() {
            assert_eq!(actor as usize, place, "{name}");
        }
    }
}
