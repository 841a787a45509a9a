//! The aggregator's work on its blocking thread: decode one update, check it, hand it to the policy.

use std::sync::Arc;

use crate::adapter::AdapterLayout;
use crate::compressor::{Codec, CodecPlan, CompressorError, Memories, Occasion};
use crate::metrics::{Hook, Metrics};
use crate::policy::{
    AggregatorInstance, Changes, Memory, Policy, PolicyError, ReusableInstance, RoundMeta, UpdateMeta,
};
use crate::privacy;
use crate::wire::Frame;

/// The start of a round.
#[derive(Debug, Clone)]
pub struct Opening {
    /// Its number: a round may be begun more than once.
    pub number: u32,
    /// The round.
    pub round: u32,
    /// Clients that were sampled.
    pub cohort: u32,
    /// The adapter that the clients start from; with tiers, that of the tier that sees most.
    pub base: Arc<Vec<f32>>,
    /// The server's memories, with the writes of encoding the download.
    pub memories: Memories,
}

/// One client's update as it came over the link.
#[derive(Debug, Clone)]
pub struct Offer {
    /// The client.
    pub client: u32,
    /// Its tier.
    pub tier: u32,
    /// The last round whose update of it was accepted.
    pub last_seen: Option<u32>,
    /// Writes of the catch-up to the memory of the download's policy at the server; they count if the update does.
    pub catch_up: Option<Changes>,
    /// The upload frame; examples and loss are in it.
    pub frame: Frame,
}

/// An update that is part of the aggregate now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Accepted {
    /// Its L2 norm after decoding.
    pub norm: f64,
}

/// The round's result.
#[derive(Debug, Clone)]
pub struct Aggregate {
    /// The aggregated delta, `P` values.
    pub update: Arc<Vec<f32>>,
    /// The new dense copy, where the policy takes the server's step.
    pub stepped: Option<Arc<Vec<f32>>>,
    /// The server's memories after the round.
    pub memories: Memories,
}

/// A failure to aggregate an update, or the whole round.
#[derive(Debug, thiserror::Error)]
pub enum AggregateError {
    /// This update is refused; the round goes on without it.
    #[error(transparent)]
    Refused(#[from] CompressorError),
    /// This update is too large; the round goes on without it.
    #[error("the update's L2 norm is {norm:.3}, the limit is {limit}")]
    Norm {
        /// The norm of the update.
        norm: f64,
        /// `server.max_update_norm`.
        limit: f32,
    },
    /// The aggregation policy refuses this update with a typed error; the round goes on without it.
    #[error(transparent)]
    Declined(PolicyError),
    /// The aggregation policy broke down over this update: what it had accumulated is lost, so the round is to be begun
    /// again without it.
    #[error(transparent)]
    Trapped(PolicyError),
    /// The aggregation policy failed, whatever the updates.
    #[error(transparent)]
    Policy(PolicyError),
    /// The offer is of a round that is over, or was begun again.
    #[error("the update is of opening {found}, the aggregator is at opening {expected}")]
    Stale {
        /// Opening of the offer.
        found: u32,
        /// Opening under way.
        expected: u32,
    },
}

impl AggregateError {
    /// True where no round can end any more.
    pub fn ends_the_run(&self) -> bool {
        matches!(self, Self::Policy(_))
    }
}

/// The working part; synchronous.
pub(super) struct Accumulator {
    codec: Codec,
    download_policy: String,
    policy: Arc<Policy>,
    max_norm: f32,
    clip: f32,
    warm: ReusableInstance<AggregatorInstance>,
    memories: Memories,
    /// The error of the round's beginning; reported with its first update.
    broken: Option<PolicyError>,
}

impl Accumulator {
    pub(super) fn new(
        config: &super::Config,
        policy: Arc<Policy>,
        layout: Arc<AdapterLayout>,
        (download, upload): (&CodecPlan, &Arc<CodecPlan>),
        (max_norm, clip): (f32, f32),
        metrics: &Arc<Metrics>,
    ) -> Result<Self, PolicyError> {
        let options = serde_json::Value::Object(config.options.clone()).to_string();
        let maker = policy.clone();
        let mut warm =
            ReusableInstance::new(metrics.policy(&policy.name), true, move || maker.aggregator(&layout, &options));
        warm.warm_up()?;
        let (codec, download_policy) = (upload.codec(metrics), download.policy().name.clone());
        Ok(Self { codec, download_policy, policy, max_norm, clip, warm, memories: Memories::default(), broken: None })
    }

    /// A policy that cannot begin fails the round at its first update, or at its end.
    pub(super) fn begin(&mut self, opening: Opening) {
        let Opening { round, cohort, base, memories, .. } = opening;
        self.memories = memories;
        // What its variables hold of a round must not meet the next one; of what is built in, tests see to that.
        if !self.policy.built_in {
            self.warm.renew();
        }
        let run = self.codec.plan().run();
        let meta = RoundMeta { round, rounds: run.rounds, seed: run.seed, cohort };
        self.broken = self.call(Hook::Begin, |instance, memory| instance.begin(&meta, base, memory)).err();
    }

    /// Takes an update in. Of one that is refused, nothing that its hooks wrote stays.
    pub(super) fn accept(&mut self, round: u32, offer: Offer) -> Result<Accepted, AggregateError> {
        self.unbroken()?;
        let before = self.memories.clone();
        let accepted = self.take(round, offer);
        if accepted.is_err() {
            self.memories = before;
        }
        accepted
    }

    fn take(&mut self, round: u32, offer: Offer) -> Result<Accepted, AggregateError> {
        let Offer { client, tier, last_seen, catch_up, frame } = offer;
        if let Some(changes) = &catch_up {
            self.memories.merge(&self.download_policy, changes);
        }
        let occasion = Occasion::of_client(round, client, tier, last_seen);
        let name = self.codec.plan().policy().name.clone();
        let mut memory = self.memories.of(&name);
        let mut decoded = self.codec.decode(&occasion, &frame, &mut memory)?;
        drop(frame);
        self.memories.keep(&name, memory);
        let norm = decoded.norm;
        if self.max_norm > 0.0 && norm > f64::from(self.max_norm) {
            return Err(AggregateError::Norm { norm, limit: self.max_norm });
        }
        // Whatever a client did before: here no update is longer.
        if self.clip > 0.0 {
            privacy::clip(Arc::<Vec<f32>>::make_mut(&mut decoded.values), self.clip);
        }
        let (examples, loss) = (decoded.upload.examples.into(), decoded.upload.loss.map(f64::from));
        let rank = self.codec.plan().run().tiers.rank(tier);
        let meta = UpdateMeta { client, examples, loss, norm, tier, rank };
        match self.call(Hook::Accept, |instance, memory| instance.accept(decoded.values, &meta, memory)) {
            Ok(()) => Ok(Accepted { norm }),
            Err(error) if error.is_typed() => Err(AggregateError::Declined(error)),
            Err(error) => Err(AggregateError::Trapped(error)),
        }
    }

    /// The aggregate and, where the policy takes the server's step, what it makes of `weights`, the dense copy.
    pub(super) fn finish(&mut self, round: u32, weights: Arc<Vec<f32>>) -> Result<Aggregate, AggregateError> {
        self.unbroken()?;
        let finished = self.call(Hook::Finish, AggregatorInstance::finish);
        let update = finished.map_err(AggregateError::Policy)?;
        let stepped = match self.policy.steps() {
            true => {
                let update = update.clone();
                let stepped = self.call(Hook::Step, |instance, memory| instance.step(round, weights, update, memory));
                Some(stepped.map_err(AggregateError::Policy)?)
            }
            false => None,
        };
        let memories = std::mem::take(&mut self.memories);
        Ok(Aggregate { update, stepped, memories })
    }

    fn unbroken(&mut self) -> Result<(), AggregateError> {
        self.broken.take().map_or(Ok(()), |error| Err(AggregateError::Policy(error)))
    }

    /// Calls a hook of the aggregator over its memory.
    fn call<R>(
        &mut self,
        hook: Hook,
        work: impl FnOnce(&mut AggregatorInstance, &mut Memory) -> Result<R, PolicyError>,
    ) -> Result<R, PolicyError> {
        let mut memory = self.memories.of(&self.policy.name);
        let result = self.warm.call(hook, |instance| work(instance, &mut memory))?;
        self.memories.keep(&self.policy.name, memory);
        Ok(result)
    }
}
