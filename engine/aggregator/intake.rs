//! What the aggregator does on its blocking thread: decode one update, check it, hand it to the policy.

use std::sync::Arc;

use crate::adapter::AdapterLayout;
use crate::compressor::{Codec, CodecPlan, CompressorError, Occasion};
use crate::metrics::{Hook, Metrics};
use crate::policy::{AggregatorInstance, Memory, Policy, PolicyError, RoundMeta, UpdateMeta, Warm};

/// One client's update as it came over the link.
#[derive(Debug, Clone)]
pub struct Offer {
    /// The client.
    pub client: u32,
    /// Its training examples.
    pub examples: u64,
    /// Its mean training loss, nats a token.
    pub loss: f64,
    /// The upload frame.
    pub frame: Arc<Vec<u8>>,
}

/// An update that is part of the aggregate now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Accepted {
    /// Its L2 norm after decoding.
    pub norm: f64,
}

/// The round's result.
#[derive(Debug, Clone, PartialEq)]
pub struct Aggregate {
    /// The aggregated delta, `P` values.
    pub update: Vec<f32>,
}

/// Why an update, or the whole round, could not be aggregated.
#[derive(Debug, thiserror::Error)]
pub enum AggregateError {
    /// This update is refused; the round goes on without it.
    #[error(transparent)]
    Refused(#[from] CompressorError),
    /// This update is too large; the round goes on without it.
    #[error("the update's L2 norm is {norm:.3}, the limit is {limit}")]
    Norm {
        /// What was found.
        norm: f64,
        /// `server.max_update_norm`.
        limit: f32,
    },
    /// The aggregation policy failed: what it had accumulated is lost.
    #[error(transparent)]
    Policy(PolicyError),
    /// The offer is of a round that is over.
    #[error("the update is of round {found}, the aggregator is at round {expected}")]
    Stale {
        /// Round of the offer.
        found: u32,
        /// Round under way.
        expected: u32,
    },
}

impl AggregateError {
    /// Whether the round cannot end any more.
    pub fn ends_the_round(&self) -> bool {
        matches!(self, Self::Policy(_))
    }
}

/// The working part; synchronous.
pub(super) struct Intake {
    codec: Codec,
    start: Arc<Vec<f32>>,
    max_norm: f32,
    warm: Warm<AggregatorInstance>,
}

impl Intake {
    pub(super) fn new(
        config: &super::Config,
        policy: Arc<Policy>,
        layout: Arc<AdapterLayout>,
        upload: &Arc<CodecPlan>,
        max_norm: f32,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, PolicyError> {
        let options = serde_json::Value::Object(config.options.clone()).to_string();
        let start = Arc::new(layout.start().0);
        let mut warm = Warm::new(metrics.policy(&policy.name), move || policy.aggregator(&layout, &options));
        warm.warm_up()?;
        Ok(Self { codec: upload.codec(metrics), start, max_norm, warm })
    }

    pub(super) fn begin(&mut self, round: u32) -> Result<(), PolicyError> {
        let (start, meta) = (self.start.clone(), RoundMeta { round, rounds: round, seed: 0, cohort: 0 });
        self.warm.call(Hook::Begin, |instance| instance.begin(&meta, start, &mut Memory::default()))
    }

    pub(super) fn accept(&mut self, round: u32, offer: &Offer) -> Result<Accepted, AggregateError> {
        let occasion = Occasion { round, client: Some(offer.client), examples: offer.examples };
        let update = self.codec.decode(&occasion, &offer.frame)?;
        let norm = l2_norm(&update);
        if self.max_norm > 0.0 && norm > f64::from(self.max_norm) {
            return Err(AggregateError::Norm { norm, limit: self.max_norm });
        }
        let meta =
            UpdateMeta { client: offer.client, examples: offer.examples, loss: offer.loss, norm, tier: 0, rank: 0 };
        let accept = |instance: &mut AggregatorInstance| instance.accept(update, &meta, &mut Memory::default());
        self.warm.call(Hook::Accept, accept).map_err(AggregateError::Policy)?;
        Ok(Accepted { norm })
    }

    pub(super) fn finish(&mut self) -> Result<Aggregate, AggregateError> {
        let finish = |instance: &mut AggregatorInstance| instance.finish(&mut Memory::default());
        let update = self.warm.call(Hook::Finish, finish).map_err(AggregateError::Policy)?;
        Ok(Aggregate { update })
    }
}

/// L2 norm in double precision, summed in index order over eight lanes: the same on every machine.
fn l2_norm(values: &[f32]) -> f64 {
    let mut lanes = [0.0_f64; 8];
    let chunks = values.chunks_exact(8);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += f64::from(*value) * f64::from(*value);
        }
    }
    let tail: f64 = rest.iter().map(|value| f64::from(*value) * f64::from(*value)).sum();
    (lanes.iter().sum::<f64>() + tail).sqrt()
}
