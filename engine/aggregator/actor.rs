//! The Aggregator actor: puts offers into cohort order and works on a blocking thread.

use std::collections::BTreeMap;
use std::sync::Arc;

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, RpcReplyPort, SpawnErr};

use super::accumulator::Accumulator;
use super::{Accepted, Aggregate, AggregateError, Config, Offer, Opening};
use crate::adapter::AdapterLayout;
use crate::compressor::Plans;
use crate::metrics::Metrics;
use crate::policy::Policy;
use crate::pool::blocking;

/// A reference to the aggregator, for its messages.
pub type AggregatorRef = ActorRef<AggregatorMsg>;

/// The actor.
pub struct Aggregator;

/// The aggregator's messages. Positions are places in the round's cohort.
pub enum AggregatorMsg {
    /// Forget what is there and start a round at position 0.
    Begin {
        /// The start of the round.
        opening: Opening,
    },
    /// An update; the reply comes when its turn has come.
    Offer {
        /// Number of the opening.
        opening: u32,
        /// Its place.
        position: u32,
        /// The update.
        offer: Offer,
        /// The update's acceptance, or the reason why it is not in the aggregate.
        reply: RpcReplyPort<Result<Accepted, AggregateError>>,
    },
    /// Nothing will come for this place.
    Skip {
        /// Number of the opening.
        opening: u32,
        /// Its place.
        position: u32,
    },
    /// The round's result; every place must have been offered or skipped.
    Finish {
        /// Number of the opening.
        opening: u32,
        /// The server's dense copy, for a policy that takes the server's step.
        weights: Arc<Vec<f32>>,
        /// The aggregate.
        reply: RpcReplyPort<Result<Aggregate, AggregateError>>,
    },
}

/// The actor's parts.
pub struct AggregatorArgs {
    /// The aggregation policy's section.
    pub config: Config,
    /// The aggregation policy.
    pub policy: Arc<Policy>,
    /// The adapter's layout.
    pub layout: Arc<AdapterLayout>,
    /// Decoders of uploads, and the downloads' policies, whose memories at the server catching up writes to.
    pub codecs: Plans,
    /// `server.max_update_norm`.
    pub max_norm: f32,
    /// L2 norm to which an update is scaled down once it is decoded; 0 scales none.
    pub clip: f32,
    /// The run's metrics.
    pub metrics: Arc<Metrics>,
}

/// A place's content while it waits for the places before it.
enum Waiting {
    Offer(Offer, RpcReplyPort<Result<Accepted, AggregateError>>),
    Skip,
}

/// The actor's state.
pub struct AggregatorState {
    accumulator: Option<Accumulator>,
    opening: u32,
    round: u32,
    next: u32,
    waiting: BTreeMap<u32, Waiting>,
}

impl Aggregator {
    /// Starts the actor under `supervisor`, known to ractor's registry as `name`.
    ///
    /// # Errors
    /// Ractor's error, or the policy's error about its options.
    pub async fn spawn(
        args: AggregatorArgs,
        (name, supervisor): (String, ActorCell),
    ) -> Result<AggregatorRef, SpawnErr> {
        Ok(Actor::spawn_linked(Some(name), Self, args, supervisor).await?.0)
    }
}

impl Actor for Aggregator {
    type Msg = AggregatorMsg;
    type State = AggregatorState;
    type Arguments = AggregatorArgs;

    async fn pre_start(&self, _: AggregatorRef, args: AggregatorArgs) -> Result<AggregatorState, ActorProcessingErr> {
        let AggregatorArgs { config, policy, layout, codecs, max_norm, clip, metrics } = args;
        // A first instance is made and its `init` runs.
        let make = move || {
            let codecs = (&*codecs.download, &codecs.upload);
            Accumulator::new(&config, policy, layout, codecs, (max_norm, clip), &metrics)
        };
        let accumulator = blocking("the start of the aggregator", make).await??;
        Ok(AggregatorState { accumulator: Some(accumulator), opening: 0, round: 0, next: 0, waiting: BTreeMap::new() })
    }

    async fn handle(
        &self,
        _: AggregatorRef,
        message: AggregatorMsg,
        state: &mut AggregatorState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            AggregatorMsg::Begin { opening } => state.begin(opening).await,
            AggregatorMsg::Offer { opening, position, offer, reply } => {
                state.put(opening, position, Waiting::Offer(offer, reply)).await
            }
            AggregatorMsg::Skip { opening, position } => state.put(opening, position, Waiting::Skip).await,
            AggregatorMsg::Finish { opening, weights, reply } => state.finish(opening, weights, reply).await,
        }
    }
}

impl AggregatorState {
    async fn begin(&mut self, opening: Opening) -> Result<(), ActorProcessingErr> {
        self.opening = opening.number;
        self.round = opening.round;
        self.next = 0;
        self.waiting.clear();
        self.on_blocking_thread(move |accumulator| accumulator.begin(opening)).await
    }

    async fn put(&mut self, opening: u32, position: u32, waiting: Waiting) -> Result<(), ActorProcessingErr> {
        if opening != self.opening {
            if let Waiting::Offer(_, reply) = waiting {
                drop(reply.send(Err(AggregateError::Stale { found: opening, expected: self.opening })));
            }
            return Ok(());
        }
        self.waiting.insert(position, waiting);
        let mut turn = Vec::new();
        while let Some(waiting) = self.waiting.remove(&self.next) {
            self.next += 1;
            if let Waiting::Offer(offer, reply) = waiting {
                turn.push((offer, reply));
            }
        }
        if turn.is_empty() {
            return Ok(());
        }
        let round = self.round;
        self.on_blocking_thread(move |accumulator| {
            for (offer, reply) in turn {
                drop(reply.send(accumulator.accept(round, offer)));
            }
        })
        .await
    }

    async fn finish(
        &mut self,
        opening: u32,
        weights: Arc<Vec<f32>>,
        reply: RpcReplyPort<Result<Aggregate, AggregateError>>,
    ) -> Result<(), ActorProcessingErr> {
        if opening != self.opening {
            drop(reply.send(Err(AggregateError::Stale { found: opening, expected: self.opening })));
            return Ok(());
        }
        let round = self.round;
        self.on_blocking_thread(move |accumulator| drop(reply.send(accumulator.finish(round, weights)))).await
    }

    async fn on_blocking_thread<R: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Accumulator) -> R + Send + 'static,
    ) -> Result<R, ActorProcessingErr> {
        let mut accumulator = self.accumulator.take().ok_or("the aggregator's accumulator was lost in a crash")?;
        let (accumulator, result) = blocking("aggregation", move || {
            let result = work(&mut accumulator);
            (accumulator, result)
        })
        .await?;
        self.accumulator = Some(accumulator);
        Ok(result)
    }
}
