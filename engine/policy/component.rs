//! One compiled policy, shared by all its instances: what it says of itself and which hooks it has.

use std::fmt;
use std::sync::Arc;

use wasmtime::component::InstancePre;

use super::bindings::cellm::policy::types::{self as wit, OptionInfo};
use super::bindings::exports::cellm::policy::{
    acknowledging, aggregating, catching_up, compressing, planning, stepping,
};
use super::description::OptionHelp;
use super::log::PolicyLog;
use super::options;
use super::state::State;
use super::{Capabilities, LimitsConfig, PolicyError, PolicyHash};
use crate::adapter::{AdapterLayout, Role};

/// A compiled policy.
pub struct Policy {
    /// Its name, as it describes itself.
    pub name: String,
    /// Its own version.
    pub version: String,
    /// One or two sentences about it.
    pub about: String,
    /// Its capabilities: promises and needs.
    pub capabilities: Capabilities,
    /// Its options, in the order in which it declares them.
    pub options: Vec<OptionHelp>,
    /// Identity of its bytes.
    pub hash: PolicyHash,
    /// True for a policy that is compiled in. Only of such a policy is an instance used for more than one message:
    /// tests hold them to keeping nothing in variables.
    pub built_in: bool,
    /// The lines that it logged by `host.log`.
    pub log: Arc<PolicyLog>,
    pub(super) declared: Vec<OptionInfo>,
    pub(super) linked: InstancePre<State>,
    pub(super) limits: LimitsConfig,
    pub(super) hooks: Hooks,
}

/// The indices of a component's exports; none for an interface that it does not export.
pub(super) struct Hooks {
    pub compressing: Option<compressing::GuestIndices>,
    pub aggregating: Option<aggregating::GuestIndices>,
    pub planning: Option<planning::GuestIndices>,
    pub acknowledging: Option<acknowledging::GuestIndices>,
    pub catching_up: Option<catching_up::GuestIndices>,
    pub stepping: Option<stepping::GuestIndices>,
}

impl Hooks {
    pub(super) fn of(linked: &InstancePre<State>) -> Self {
        Self {
            compressing: compressing::GuestIndices::new(linked).ok(),
            aggregating: aggregating::GuestIndices::new(linked).ok(),
            planning: planning::GuestIndices::new(linked).ok(),
            acknowledging: acknowledging::GuestIndices::new(linked).ok(),
            catching_up: catching_up::GuestIndices::new(linked).ok(),
            stepping: stepping::GuestIndices::new(linked).ok(),
        }
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Policy({} {} {})", self.name, self.version, self.hash)
    }
}

impl Policy {
    /// True for a compressor.
    pub fn is_compressor(&self) -> bool {
        self.hooks.compressing.is_some()
    }

    /// True for an aggregator.
    pub fn is_aggregator(&self) -> bool {
        self.hooks.aggregating.is_some()
    }

    /// True where it chooses the coordinates that a client trains.
    pub fn plans(&self) -> bool {
        self.hooks.planning.is_some()
    }

    /// True where it is told whether an upload was accepted.
    pub fn acknowledges(&self) -> bool {
        self.hooks.acknowledging.is_some()
    }

    /// True where it brings a client up to date that has missed rounds.
    pub fn catches_up(&self) -> bool {
        self.hooks.catching_up.is_some()
    }

    /// True where it takes the server's step.
    pub fn steps(&self) -> bool {
        self.hooks.stepping.is_some()
    }

    /// The worlds that it serves, in words.
    pub fn worlds(&self) -> &'static str {
        match (self.is_compressor(), self.is_aggregator()) {
            (true, true) => "compressor and aggregator",
            (true, false) => "compressor",
            (false, _) => "aggregator",
        }
    }

    /// Each option with values at the edges of what it accepts, for whoever tests a policy.
    pub fn option_edges(&self) -> impl Iterator<Item = (&str, Vec<serde_json::Value>)> {
        self.declared.iter().map(|option| (option.name.as_str(), options::edges(&option.kind)))
    }

    pub(super) fn wrong_world(&self, wanted: String) -> PolicyError {
        PolicyError::WrongWorld { policy: self.name.clone(), wanted, found: self.worlds() }
    }

    /// The layout as the policy sees it.
    pub(super) fn layout(&self, layout: &AdapterLayout) -> Result<wit::Layout, PolicyError> {
        let Ok(values) = u32::try_from(layout.values()) else {
            return Err(PolicyError::Layout { policy: self.name.clone(), found: layout.values(), limit: u32::MAX });
        };
        let tensors = layout.tensors().iter().map(|tensor| wit::TensorInfo {
            name: tensor.spec.name.clone(),
            role: match tensor.spec.role {
                Role::LoraA => wit::Role::LoraA,
                Role::LoraB => wit::Role::LoraB,
                Role::Core => wit::Role::Core,
                Role::Head => wit::Role::Head,
                Role::Base => wit::Role::Base,
            },
            // Each of these is at most `values`, which fits.
            shape: tensor.spec.shape.iter().map(|side| *side as u32).collect(),
            rank: tensor.spec.rank as u32,
            scale: tensor.spec.scale,
            seed: tensor.spec.seed,
            offset: tensor.offset as u32,
            len: tensor.len as u32,
        });
        Ok(wit::Layout { tensors: tensors.collect(), values })
    }
}
