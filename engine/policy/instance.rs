//! One running instance of a policy: calls it under the deadline and is finished after the first breakdown.

use std::sync::Arc;

use wasmtime::component::{self, Resource};
use wasmtime::{Store, Trap, WasmBacktrace};

use super::bindings::cellm::policy::types::PolicyError as WitError;
use super::charged_buffer::ChargedBuffer;
use super::component::Policy;
use super::error::Refusal;
use super::log::{CallLog, PolicyLog};
use super::memory::Memory;
use super::resources::Vector;
use super::state::State;
use super::{LimitsConfig, PolicyError, printable};

/// Length of an epoch: deadlines are kept to within two of them.
pub(super) const EPOCH_MS: u64 = 10;
/// Bytes that wasmtime may allocate for the lists of one host call beside one whole vector.
const LISTS: usize = 4 << 20;
/// Wasmtime's message where that is not enough; the error has no type of its own.
const LISTS_EXHAUSTED: &str = "fuel allocated for hostcalls";
/// Bytes that are kept of an error text that a policy made.
const TEXT: usize = 400;

/// Functions that the error of a trap names, and what is kept of a name, bytes.
const FUNCTIONS: usize = 2;
const NAME: usize = 120;
/// Functions between a mistake and its trap, in every language: their names say nothing of the mistake.
const MACHINERY: [&str; 9] =
    ["panicking", "rust_panic", "rust_begin_unwind", "__rust", "core::", "std::", "alloc::", "abort", "__wasm_export"];

/// The failure of a call that ran to its end; the instance can still be used.
pub(super) enum Fault {
    Typed(WitError),
    WrongLength { found: usize, expected: usize },
    WrongSpace { found: usize, expected: usize },
    LeftOver { found: usize, taken: usize },
}

impl From<WitError> for Fault {
    fn from(error: WitError) -> Self {
        Self::Typed(error)
    }
}

/// Result of a hook: a trap outside, a failure of the call inside.
pub(super) type Outcome<T> = wasmtime::Result<Result<T, Fault>>;

/// An instance and the store that it lives in.
pub(super) struct Instance {
    policy: String,
    log: Arc<PolicyLog>,
    limits: LimitsConfig,
    /// Bytes that the lists of one call may take.
    lists: usize,
    /// None after a breakdown: everything that the policy held is freed at once.
    alive: Option<(Store<State>, component::Instance)>,
}

impl Instance {
    /// Instantiates. `values` is the length of the vectors that it will work on.
    pub fn new(policy: &Policy, values: usize) -> Result<Self, PolicyError> {
        let limits = policy.limits.clone();
        let mut store = Store::new(policy.linked.component().engine(), State::new(&limits));
        store.limiter(|state| &mut state.limiter);
        let lists = LISTS.saturating_add(values.saturating_mul(size_of::<f32>()));
        store.set_hostcall_fuel(lists);
        store.set_epoch_deadline(epochs(&limits));
        let mut fresh = Self { policy: policy.name.clone(), log: policy.log.clone(), limits, lists, alive: None };
        let instantiated = policy.linked.instantiate(&mut store);
        let mut call_log = std::mem::take(&mut store.data_mut().call_log);
        let made = match instantiated {
            Ok(instance) => {
                fresh.alive = Some((store, instance));
                Ok(())
            }
            Err(error) => Err(fresh.breakdown("instantiate", &error, &mut call_log)),
        };
        fresh.log.forward(&fresh.policy, "instantiate", call_log);
        made.map(|()| fresh)
    }

    /// Looks up a policy's exports.
    pub fn bind<T>(
        &mut self,
        load: impl FnOnce(&mut Store<State>, &component::Instance) -> wasmtime::Result<T>,
    ) -> Result<T, PolicyError> {
        let Some((store, instance)) = self.alive.as_mut() else { return Err(self.poisoned_in("load")) };
        load(store, instance).map_err(|error| self.breakdown("load", &error, &mut CallLog::default()))
    }

    /// True where a call broke it.
    pub fn poisoned(&self) -> bool {
        self.alive.is_none()
    }

    /// Runs a hook that has no memory under the deadline. A trap finishes the instance, a fault does not.
    pub fn call<T>(
        &mut self,
        hook: &'static str,
        work: impl FnOnce(&mut Store<State>) -> Outcome<T>,
    ) -> Result<T, PolicyError> {
        self.run(hook, None, work)
    }

    /// Runs a hook with the memory of its owner, which keeps what the hook wrote if all went well.
    pub fn call_with<T>(
        &mut self,
        hook: &'static str,
        memory: &mut Memory,
        work: impl FnOnce(&mut Store<State>) -> Outcome<T>,
    ) -> Result<T, PolicyError> {
        self.run(hook, Some(memory), work)
    }

    fn run<T>(
        &mut self,
        hook: &'static str,
        mut memory: Option<&mut Memory>,
        work: impl FnOnce(&mut Store<State>) -> Outcome<T>,
    ) -> Result<T, PolicyError> {
        let Some((store, _)) = self.alive.as_mut() else { return Err(self.poisoned_in(hook)) };
        store.set_epoch_deadline(epochs(&self.limits));
        store.data_mut().start_call();
        store.data_mut().memory = memory.as_deref_mut().map(std::mem::take);
        let outcome = work(store);
        if let (Some(owners), Some(mut lent)) = (memory, store.data_mut().memory.take()) {
            if matches!(outcome, Ok(Ok(_))) {
                lent.commit();
            } else {
                lent.roll_back();
            }
            *owners = lent;
        }
        let mut call_log = std::mem::take(&mut store.data_mut().call_log);
        let result = match outcome {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(fault)) => Err(self.faulted(hook, fault)),
            Err(error) => {
                self.alive = None;
                Err(self.breakdown(hook, &error, &mut call_log))
            }
        };
        self.log.forward(&self.policy, hook, call_log);
        result
    }

    fn poisoned_in(&self, hook: &'static str) -> PolicyError {
        PolicyError::Poisoned { policy: self.policy.clone(), hook }
    }

    fn faulted(&self, hook: &'static str, fault: Fault) -> PolicyError {
        let policy = self.policy.clone();
        match fault {
            Fault::Typed(WitError::BadOption(bad)) => PolicyError::Option {
                policy,
                option: shortened(&bad.name),
                found: shortened(&bad.found),
                allowed: shortened(&bad.allowed),
            },
            Fault::Typed(WitError::NoUpdates) => PolicyError::NoUpdates { policy },
            Fault::Typed(WitError::BadMessage(message) | WitError::Other(message)) => {
                PolicyError::Rejected { policy, hook, message: shortened(&message) }
            }
            Fault::WrongLength { found, expected } => PolicyError::WrongLength { policy, hook, found, expected },
            Fault::WrongSpace { found, expected } => PolicyError::WrongSpace { policy, hook, found, expected },
            Fault::LeftOver { found, taken } => PolicyError::LeftOver { policy, hook, found, taken },
        }
    }

    /// Puts a name to what wasmtime reports. Where the policy itself gave up, its last words say why.
    fn breakdown(&self, hook: &'static str, error: &wasmtime::Error, call_log: &mut CallLog) -> PolicyError {
        let policy = self.policy.clone();
        if let Some(refusal) = error.downcast_ref::<Refusal>() {
            return match refusal {
                Refusal::Memory { found, limit } => PolicyError::Memory { policy, hook, found: *found, limit: *limit },
                Refusal::State { found, limit } => PolicyError::State { policy, hook, found: *found, limit: *limit },
                Refusal::Handles { limit } => PolicyError::Handles { policy, hook, limit: *limit },
                Refusal::Work { call, found, limit } => {
                    PolicyError::Work { policy, hook, call, found: *found, limit: *limit }
                }
                Refusal::Output { found, limit, unit, key } => {
                    PolicyError::Output { policy, hook, found: *found, limit: *limit, unit, key }
                }
                Refusal::Misuse(reason) => PolicyError::Trapped { policy, hook, reason: shortened(reason) },
            };
        }
        match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => PolicyError::Deadline { policy, hook, limit_ms: self.limits.deadline_ms },
            _ => match error.root_cause().to_string() {
                text if text.contains(LISTS_EXHAUSTED) => PolicyError::Lists { policy, hook, limit: self.lists },
                text => {
                    let why = call_log.last_error().map_or_else(String::new, |why| shortened(&why) + ": ");
                    PolicyError::Trapped { policy, hook, reason: why + &shortened(&(text + &functions(error))) }
                }
            },
        }
    }
}

/// The functions of a trap's backtrace, `, in FUNCTION, called by FUNCTION`, as far as the component has names.
fn functions(error: &wasmtime::Error) -> String {
    let frames = error.downcast_ref::<WasmBacktrace>().map(WasmBacktrace::frames).unwrap_or_default();
    let named = frames.iter().filter_map(|frame| frame.func_name()).map(|name| {
        let mut name = format!("{:#}", rustc_demangle::demangle(name));
        name.truncate(name.floor_char_boundary(NAME));
        name
    });
    let own = named.filter(|name| !MACHINERY.iter().any(|machinery| name.contains(machinery)));
    let functions: Vec<String> = own.take(FUNCTIONS).collect();
    if functions.is_empty() { String::new() } else { format!(", in {}", functions.join(", called by ")) }
}

/// Takes a vector that a policy returned out of the store.
pub(super) fn take_vector(
    store: &mut Store<State>,
    returned: Resource<Vector>,
    expected: usize,
) -> Outcome<Arc<Vec<f32>>> {
    let vector = store.data_mut().table.delete(returned)?;
    let found = vector.0.as_slice().len();
    if found != expected {
        return Ok(Err(Fault::WrongLength { found, expected }));
    }
    Ok(Ok(vector.0.share()))
}

fn epochs(limits: &LimitsConfig) -> u64 {
    limits.deadline_ms.div_ceil(EPOCH_MS) + 1
}

/// A call whose result is the policy's own.
pub(super) fn typed<T>(done: wasmtime::Result<Result<T, WitError>>) -> Outcome<T> {
    Ok(done?.map_err(Fault::from))
}

/// Lends values to the policy for a call, without copying.
pub(super) fn lend(state: &mut State, values: Arc<Vec<f32>>) -> wasmtime::Result<Resource<Vector>> {
    let buffer = ChargedBuffer::lend(values, &state.budget)?;
    state.push(Vector(buffer))
}

/// Text of a policy for people: one line, not too long.
pub(super) fn shortened(text: &str) -> String {
    let start = &text[..text.floor_char_boundary(TEXT)];
    let end = if start.len() < text.len() { " ..." } else { "" };
    printable(start) + end
}
