//! A policy instance that makes one update of many.

use std::sync::Arc;

use wasmtime::component::Resource;

use super::PolicyError;
use super::bindings::exports::cellm::policy::aggregating::{Guest, UpdateInfo};
use super::component::Policy;
use super::compressor::lend;
use super::instance::Instance;
use super::options::Given;
use crate::adapter::AdapterLayout;

/// What is known about an update.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UpdateMeta {
    /// The client's number.
    pub client: u32,
    /// Training examples behind it.
    pub examples: u64,
    /// Mean local training loss, nats a token.
    pub loss: f64,
    /// L2 norm of the decoded update.
    pub norm: f64,
}

/// A warm aggregator: [`begin`](Self::begin), [`accept`](Self::accept) for each update, [`finish`](Self::finish), again.
pub struct AggregatorInstance {
    policy: Arc<Policy>,
    values: usize,
    instance: Instance,
    guest: Guest,
}

impl AggregatorInstance {
    pub(super) fn new(policy: &Arc<Policy>, layout: &AdapterLayout, options_json: &str) -> Result<Self, PolicyError> {
        let indices = policy.aggregating.as_ref().ok_or_else(|| policy.wrong_world("aggregator"))?;
        let options = Given::parse(&policy.name, options_json)?.declared(&policy.declared, &[])?;
        let wit_layout = policy.layout(layout)?;
        let mut instance = Instance::new(policy, layout.values())?;
        let guest = instance.bind(|store, instance| indices.load(store, instance))?;
        instance.call("init", |store| guest.call_init(store, &wit_layout, &options))?;
        Ok(Self { policy: policy.clone(), values: layout.values(), instance, guest })
    }

    /// Starts a round; whatever was accepted before is forgotten.
    pub fn begin(&mut self, round: u32) -> Result<(), PolicyError> {
        let guest = &self.guest;
        self.instance.call("begin", |store| guest.call_begin(store, round))
    }

    /// Takes one update in and gives its buffer back. The result depends on the order of the calls.
    pub fn accept(&mut self, update: Vec<f32>, meta: &UpdateMeta) -> Result<Vec<f32>, PolicyError> {
        if update.len() != self.values {
            let (policy, found) = (self.policy.name.clone(), update.len());
            return Err(PolicyError::GivenLength { policy, hook: "accept", found, expected: self.values });
        }
        let guest = &self.guest;
        let info = UpdateInfo { client: meta.client, examples: meta.examples, loss: meta.loss, norm: meta.norm };
        let update = Arc::new(update);
        self.instance.call("accept", |store| {
            let lent = lend(store.data_mut(), update.clone())?;
            let done = guest.call_accept(&mut *store, Resource::new_borrow(lent.rep()), info)?;
            store.data_mut().table.delete(lent)?;
            Ok(done)
        })?;
        Ok(Arc::unwrap_or_clone(update))
    }

    /// The aggregated delta of the round: a vector of all values of the layout.
    pub fn finish(&mut self) -> Result<Vec<f32>, PolicyError> {
        let guest = &self.guest;
        let finished = self.instance.call("finish", |store| guest.call_finish(store))?;
        self.instance.take_vector("finish", finished, self.values)
    }

    /// Whether a call broke it; then the owner makes a new one.
    pub fn poisoned(&self) -> bool {
        self.instance.poisoned()
    }

    /// The policy that it runs.
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }
}
