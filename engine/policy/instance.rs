//! One running instance of a policy: calls it under the deadline and is finished after the first breakdown.

use wasmtime::component::{self, Resource};
use wasmtime::{Store, Trap};

use super::bindings::cellm::policy::types::PolicyError as WitError;
use super::component::Policy;
use super::error::Refusal;
use super::host::EPOCH_MS;
use super::state::State;
use super::vector::Vector;
use super::{LimitsConfig, PolicyError};

/// What wasmtime may allocate for the lists of one host call beside one whole vector.
const LISTS: usize = 4 << 20;

/// An instance and the store that it lives in.
pub(super) struct Instance {
    policy: String,
    limits: LimitsConfig,
    /// None after a breakdown: everything that the policy held is freed at once.
    alive: Option<(Store<State>, component::Instance)>,
}

impl Instance {
    /// Instantiates. `values` is the length of the vectors that it will work on.
    pub fn new(policy: &Policy, values: usize) -> Result<Self, PolicyError> {
        let limits = policy.limits.clone();
        let mut store = Store::new(policy.linked.component().engine(), State::new(&limits));
        store.limiter(|state| &mut state.limiter);
        store.set_hostcall_fuel(LISTS.saturating_add(values.saturating_mul(size_of::<f32>())));
        store.set_epoch_deadline(epochs(&limits));
        let mut fresh = Self { policy: policy.name.clone(), limits, alive: None };
        match policy.linked.instantiate(&mut store) {
            Ok(instance) => fresh.alive = Some((store, instance)),
            Err(error) => return Err(fresh.breakdown("instantiate", &error)),
        }
        Ok(fresh)
    }

    /// Looks up a policy's exports.
    pub fn bind<T>(
        &mut self,
        load: impl FnOnce(&mut Store<State>, &component::Instance) -> wasmtime::Result<T>,
    ) -> Result<T, PolicyError> {
        let Some((store, instance)) = self.alive.as_mut() else { return Err(self.poisoned_in("load")) };
        load(store, instance).map_err(|error| self.breakdown("load", &error))
    }

    /// Whether a call broke it.
    pub fn poisoned(&self) -> bool {
        self.alive.is_none()
    }

    /// Runs one hook under the deadline. A trap finishes the instance, a typed error does not.
    pub fn call<T>(
        &mut self,
        hook: &'static str,
        work: impl FnOnce(&mut Store<State>) -> wasmtime::Result<Result<T, WitError>>,
    ) -> Result<T, PolicyError> {
        let Some((store, _)) = self.alive.as_mut() else { return Err(self.poisoned_in(hook)) };
        store.set_epoch_deadline(epochs(&self.limits));
        match work(store) {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(refused)) => Err(self.refused(hook, refused)),
            Err(error) => {
                self.alive = None;
                Err(self.breakdown(hook, &error))
            }
        }
    }

    /// Takes a vector that a policy returned out of the store.
    pub fn take_vector(
        &mut self,
        hook: &'static str,
        returned: Resource<Vector>,
        expected: usize,
    ) -> Result<Vec<f32>, PolicyError> {
        let vector = self.call(hook, |store| Ok(Ok(store.data_mut().table.delete(returned)?)))?;
        let found = vector.0.as_slice().len();
        if found != expected {
            return Err(PolicyError::WrongLength { policy: self.policy.clone(), hook, found, expected });
        }
        Ok(vector.0.into_vec())
    }

    fn poisoned_in(&self, hook: &'static str) -> PolicyError {
        PolicyError::Poisoned { policy: self.policy.clone(), hook }
    }

    fn refused(&self, hook: &'static str, refused: WitError) -> PolicyError {
        let policy = self.policy.clone();
        match refused {
            WitError::BadOption(bad) => {
                PolicyError::Option { policy, option: bad.name, found: bad.found, allowed: bad.allowed }
            }
            WitError::NoUpdates => PolicyError::NoUpdates { policy },
            WitError::BadMessage(message) | WitError::Other(message) => PolicyError::Rejected { policy, hook, message },
        }
    }

    /// Puts a name to what wasmtime reports.
    fn breakdown(&self, hook: &'static str, error: &wasmtime::Error) -> PolicyError {
        let policy = self.policy.clone();
        if let Some(refusal) = error.downcast_ref::<Refusal>() {
            return match refusal {
                Refusal::Memory { found, limit } => PolicyError::Memory { policy, hook, found: *found, limit: *limit },
                Refusal::Handles { limit } => PolicyError::Handles { policy, hook, limit: *limit },
                Refusal::Output { found, limit, unit, key } => {
                    PolicyError::Output { policy, hook, found: *found, limit: *limit, unit, key }
                }
                Refusal::Misuse(reason) => PolicyError::Trapped { policy, hook, reason: reason.clone() },
            };
        }
        match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => PolicyError::Deadline { policy, hook, limit_ms: self.limits.deadline_ms },
            _ => PolicyError::Trapped { policy, hook, reason: error.root_cause().to_string() },
        }
    }
}

fn epochs(limits: &LimitsConfig) -> u64 {
    limits.deadline_ms.div_ceil(EPOCH_MS) + 1
}
