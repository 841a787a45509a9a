//! What the aggregator does on its blocking thread: decode one update, check it, hand it to the policy.

use std::sync::Arc;
use std::time::Instant;

use crate::adapter::AdapterLayout;
use crate::compressor::{Codec, CodecPlan, CompressorError, Occasion};
use crate::metrics::{Hook, Metrics, PolicyMetrics};
use crate::policy::{AggregatorInstance, Policy, PolicyError, UpdateMeta};

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
    policy: Arc<Policy>,
    layout: Arc<AdapterLayout>,
    options: String,
    max_norm: f32,
    calls: PolicyMetrics,
    instance: Option<AggregatorInstance>,
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
        let instance = Some(policy.aggregator(&layout, &options)?);
        let (codec, calls) = (upload.codec(metrics), metrics.policy(&policy.name));
        Ok(Self { codec, policy, layout, options, max_norm, calls, instance })
    }

    pub(super) fn begin(&mut self, round: u32) -> Result<(), PolicyError> {
        self.timed(Hook::Begin, |instance| instance.begin(round))
    }

    pub(super) fn accept(&mut self, round: u32, offer: &Offer) -> Result<Accepted, AggregateError> {
        let occasion = Occasion { round, client: Some(offer.client), examples: offer.examples };
        let update = self.codec.decode(&occasion, &offer.frame)?;
        let norm = l2_norm(&update);
        if self.max_norm > 0.0 && norm > f64::from(self.max_norm) {
            return Err(AggregateError::Norm { norm, limit: self.max_norm });
        }
        let meta = UpdateMeta { client: offer.client, examples: offer.examples, loss: offer.loss, norm };
        self.timed(Hook::Accept, |instance| instance.accept(update, &meta)).map_err(AggregateError::Policy)?;
        Ok(Accepted { norm })
    }

    pub(super) fn finish(&mut self) -> Result<Aggregate, AggregateError> {
        let update = self.timed(Hook::Finish, AggregatorInstance::finish).map_err(AggregateError::Policy)?;
        Ok(Aggregate { update })
    }

    fn timed<R>(
        &mut self,
        hook: Hook,
        call: impl FnOnce(&mut AggregatorInstance) -> Result<R, PolicyError>,
    ) -> Result<R, PolicyError> {
        let mut instance = match self.instance.take() {
            Some(instance) => instance,
            None => self.policy.aggregator(&self.layout, &self.options)?,
        };
        let started = Instant::now();
        let result = call(&mut instance);
        self.calls.call_seconds(hook).observe(started.elapsed().as_secs_f64());
        if instance.poisoned() {
            self.calls.traps.inc();
        } else {
            self.instance = Some(instance);
        }
        result
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
