//! Restarts of each kind of actor, and the jobs that wait for a pool.

use prometheus::{IntCounter, IntGauge, Registry};

use super::names;
use super::registration::{counters, gauges};

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
    /// The endpoint that serves these metrics.
    MetricsExporter,
}

const ACTORS: [(Actor, &str); 7] = [
    (Actor::Server, "server"),
    (Actor::Client, "client"),
    (Actor::Compressor, "compressor"),
    (Actor::Trainer, "trainer"),
    (Actor::Aggregator, "aggregator"),
    (Actor::Journal, "journal"),
    (Actor::MetricsExporter, "metrics_exporter"),
];

/// All kinds, at 0 from the start, so that the first restart shows as an increase.
pub(super) struct Actors {
    restarts: [IntCounter; ACTORS.len()],
    pub compressor_depth: IntGauge,
    pub trainer_depth: IntGauge,
}

impl Actors {
    pub(super) fn new(registry: &Registry) -> Self {
        let help = "Jobs that wait for a free worker of a pool, by kind of actor.";
        let depth = gauges(registry, names::MAILBOX_DEPTH, help, &["actor"]);
        let restarts =
            counters(registry, names::ACTOR_RESTARTS, "Actors started anew after a crash, by kind.", &["actor"]);
        Self {
            restarts: ACTORS.map(|(_, name)| restarts.with_label_values(&[name])),
            compressor_depth: depth.with_label_values(&["compressor"]),
            trainer_depth: depth.with_label_values(&["trainer"]),
        }
    }

    pub(super) fn restarts(&self, actor: Actor) -> &IntCounter {
        &self.restarts[actor as usize]
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
