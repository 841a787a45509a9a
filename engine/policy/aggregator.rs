//! A policy instance that makes one update of many.

use std::sync::Arc;

use rand_core::Rng;
use wasmtime::component::Resource;

use super::bindings::exports::cellm::policy::aggregating::{Guest, RoundInfo, UpdateInfo};
use super::bindings::exports::cellm::policy::stepping;
use super::component::Policy;
use super::instance::{Instance, lend, take_vector, typed};
use super::options::Given;
use super::{Memory, PolicyError};
use crate::adapter::AdapterLayout;
use crate::random::{self, Purpose};

/// The facts of a round, as hooks are told them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoundMeta {
    /// Number of the round; the first is 1.
    pub round: u32,
    /// Number of rounds of the run.
    pub rounds: u32,
    /// The run's seed. The policy sees a seed for this round alone that is drawn from it.
    pub seed: u64,
    /// Clients that were sampled; fewer may answer.
    pub cohort: u32,
}

/// The facts of an update: its client, examples, loss and norm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UpdateMeta {
    /// The client's number.
    pub client: u32,
    /// Training examples behind it.
    pub examples: u64,
    /// Mean local training loss, nats a token; none where it is not known.
    pub loss: Option<f64>,
    /// L2 norm of the decoded update.
    pub norm: f64,
    /// The client's tier, 0 where the run has none.
    pub tier: u32,
    /// Rank that the tier trains; 0 is the whole rank.
    pub rank: u32,
}

/// A warm aggregator: [`begin`](Self::begin), [`accept`](Self::accept) for each update, [`finish`](Self::finish), again.
/// Every hook takes the server's memory; what the hook wrote is in it afterwards, or, if the hook failed, is not.
pub struct AggregatorInstance {
    policy: Arc<Policy>,
    values: usize,
    instance: Instance,
    guest: Guest,
    stepping: Option<stepping::Guest>,
    /// True once this instance has begun a round. A fresh instance in place of one that broke down has not.
    begun: bool,
}

impl Policy {
    /// An instance, already initialized, that aggregates. `options_json` is an object with the policy's own options.
    ///
    /// # Errors
    /// [`PolicyError::WrongWorld`] for a policy that does not aggregate; an option or a layout that it does not take; its
    /// breakdown in `init`.
    pub fn aggregator(
        self: &Arc<Self>,
        layout: &Arc<AdapterLayout>,
        options_json: &str,
    ) -> Result<AggregatorInstance, PolicyError> {
        AggregatorInstance::new(self, layout, options_json)
    }
}

impl AggregatorInstance {
    fn new(policy: &Arc<Policy>, layout: &AdapterLayout, options_json: &str) -> Result<Self, PolicyError> {
        let hooks = &policy.hooks;
        let indices =
            hooks.aggregating.as_ref().ok_or_else(|| policy.wrong_world("aggregator for aggregate.policy".into()))?;
        let options = Given::parse(&policy.name, options_json)?.declared(&policy.declared)?;
        let wit_layout = policy.layout(layout)?;
        let mut instance = Instance::new(policy, layout.values())?;
        let (guest, stepping) = instance.bind(|store, instance| {
            let stepping = hooks.stepping.as_ref().map(|hook| hook.load(&mut *store, instance)).transpose()?;
            Ok((indices.load(store, instance)?, stepping))
        })?;
        instance.call("init", |store| typed(guest.call_init(store, &wit_layout, &options)))?;
        Ok(Self { policy: policy.clone(), values: layout.values(), instance, guest, stepping, begun: false })
    }

    /// Starts a round; whatever was accepted before is forgotten. `base` is what the clients start from.
    ///
    /// # Errors
    /// [`PolicyError::GivenLength`] for a `base` of another length than the layout's;
    /// else the policy's typed error, or its breakdown (trap, deadline or limit).
    pub fn begin(&mut self, round: &RoundMeta, base: Arc<Vec<f32>>, memory: &mut Memory) -> Result<(), PolicyError> {
        self.check_length("begin", base.len())?;
        let guest = &self.guest;
        let seed = random::stream(round.seed, Purpose::PolicyAggregate, round.round, u32::MAX).next_u64();
        let info = RoundInfo { round: round.round, rounds: round.rounds, seed, cohort: round.cohort };
        self.begun = false;
        self.instance.call_with("begin", memory, |store| {
            let lent = lend(store.data_mut(), base)?;
            let done = guest.call_begin(&mut *store, info, Resource::new_borrow(lent.rep()));
            store.data_mut().table.delete(lent)?;
            typed(done)
        })?;
        self.begun = true;
        Ok(())
    }

    /// Takes one update in. The result depends on the order of the calls.
    ///
    /// # Errors
    /// One that [is typed](PolicyError::is_typed) refuses this update alone. After any other, what was accepted before is lost
    /// with the instance: the round can only be begun again.
    pub fn accept(&mut self, update: Arc<Vec<f32>>, meta: &UpdateMeta, memory: &mut Memory) -> Result<(), PolicyError> {
        self.check_length("accept", update.len())?;
        self.check_begun("accept")?;
        let guest = &self.guest;
        let UpdateMeta { client, examples, loss, norm, tier, rank } = *meta;
        let info = UpdateInfo { client, examples, loss: loss.unwrap_or(f64::NAN), norm, tier, rank };
        self.instance.call_with("accept", memory, |store| {
            let lent = lend(store.data_mut(), update)?;
            let done = guest.call_accept(&mut *store, Resource::new_borrow(lent.rep()), info);
            store.data_mut().table.delete(lent)?;
            typed(done)
        })
    }

    /// The aggregated delta of the round: a vector of all values of the layout.
    ///
    /// # Errors
    /// When no round was begun, or the policy traps, returns an error or exceeds its limits.
    pub fn finish(&mut self, memory: &mut Memory) -> Result<Arc<Vec<f32>>, PolicyError> {
        self.check_begun("finish")?;
        let (guest, values) = (&self.guest, self.values);
        self.instance.call_with("finish", memory, |store| match guest.call_finish(&mut *store)? {
            Ok(finished) => take_vector(store, finished, values),
            Err(error) => Ok(Err(error.into())),
        })
    }

    /// The server's step: the new dense copy from the old one and what [`finish`](Self::finish) gave. Only of a policy
    /// that [steps](Policy::steps).
    ///
    /// # Errors
    /// [`PolicyError::GivenLength`] and [`PolicyError::WrongLength`] for vectors of another length than the layout's;
    /// else the policy's typed error, or its breakdown (trap, deadline or limit).
    pub fn step(
        &mut self,
        round: u32,
        weights: Arc<Vec<f32>>,
        aggregate: Arc<Vec<f32>>,
        memory: &mut Memory,
    ) -> Result<Arc<Vec<f32>>, PolicyError> {
        self.check_length("step", weights.len())?;
        self.check_length("step", aggregate.len())?;
        let guest = self.stepping.as_ref().ok_or_else(|| self.policy.wrong_world("stepping policy".into()))?;
        let values = self.values;
        self.instance.call_with("step", memory, |store| {
            let (weights, aggregate) = (lend(store.data_mut(), weights)?, lend(store.data_mut(), aggregate)?);
            let lent = (Resource::new_borrow(weights.rep()), Resource::new_borrow(aggregate.rep()));
            let done = guest.call_step(&mut *store, round, lent.0, lent.1)?;
            let table = &mut store.data_mut().table;
            table.delete(weights)?;
            table.delete(aggregate)?;
            match done {
                Ok(stepped) => take_vector(store, stepped, values),
                Err(error) => Ok(Err(error.into())),
            }
        })
    }

    /// True where a call broke the instance; its owner then makes a new one.
    pub fn poisoned(&self) -> bool {
        self.instance.poisoned()
    }

    /// The policy that it runs.
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    fn check_begun(&self, hook: &'static str) -> Result<(), PolicyError> {
        if self.begun { Ok(()) } else { Err(PolicyError::Poisoned { policy: self.policy.name.clone(), hook }) }
    }

    fn check_length(&self, hook: &'static str, found: usize) -> Result<(), PolicyError> {
        if found == self.values {
            return Ok(());
        }
        Err(PolicyError::GivenLength { policy: self.policy.name.clone(), hook, found, expected: self.values })
    }
}
