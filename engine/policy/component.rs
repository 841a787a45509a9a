//! One compiled policy: checked on loading, shared by all its instances.

use std::fmt;
use std::sync::Arc;

use wasmtime::Engine;
use wasmtime::component::{Component, InstancePre, Linker};

use super::aggregator::AggregatorInstance;
use super::bindings::cellm::policy::types::{self as wit, OptionInfo};
use super::bindings::exports::cellm::policy::{
    acknowledging, aggregating, catching_up, compressing, describing, planning, stepping,
};
use super::compressor::CompressorInstance;
use super::description::{self, OptionHelp};
use super::instance::{Instance, shortened};
use super::log::PolicyLog;
use super::options;
use super::state::State;
use super::{Capabilities, LimitsConfig, PolicyError, PolicyHash};
use crate::adapter::{AdapterLayout, Role};

/// The WIT package and the version of it that this program offers. Components of an older version with the same first two
/// numbers run too: they ask for less.
const PACKAGE: &str = "cellm:policy";
const VERSION: [u32; 3] = [0, 1, 1];

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
    fn of(linked: &InstancePre<State>) -> Self {
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
    pub(super) fn compile(
        engine: &Engine,
        linker: &Linker<State>,
        limits: &LimitsConfig,
        (reference, built_in): (&str, bool),
        bytes: &[u8],
    ) -> Result<Self, PolicyError> {
        let not_a_component =
            |reason: String| PolicyError::NotAComponent { reference: reference.into(), reason: shortened(&reason) };
        match bytes {
            [0, b'a', b's', b'm', _, _, 1, 0, ..] => {}
            [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => {
                return Err(not_a_component(
                    "it is a core module (`cellm plugin build` makes a component of it)".into(),
                ));
            }
            _ => return Err(not_a_component(format!("its {} bytes do not start as one", bytes.len()))),
        }
        let component =
            Component::new(engine, bytes).map_err(|error| not_a_component(error.root_cause().to_string()))?;
        let version = check_interfaces(engine, &component, reference)?;
        let linked = linker.instantiate_pre(&component).map_err(|error| {
            let newer = if version > VERSION { newer(&version) } else { String::new() };
            wrong_wit(reference, format!("{}{newer}, {error:#}", package(&version)))
        })?;
        let describing = describing::GuestIndices::new(&linked)
            .map_err(|error| wrong_wit(reference, format!("no describing: {}", error.root_cause())))?;
        let mut policy = Self {
            name: reference.into(),
            version: String::new(),
            about: String::new(),
            capabilities: Capabilities::default(),
            options: Vec::new(),
            hash: PolicyHash::of(bytes),
            built_in,
            log: Arc::default(),
            declared: Vec::new(),
            hooks: Hooks::of(&linked),
            linked,
            limits: limits.clone(),
        };
        if !policy.is_compressor() && !policy.is_aggregator() {
            return Err(wrong_wit(reference, "neither a compressor nor an aggregator".into()));
        }
        let mut instance = Instance::new(&policy, 0)?;
        let guest = instance.bind(|store, instance| describing.load(store, instance))?;
        let described = instance.call("describe", |store| Ok(Ok(guest.call_describe(store)?)))?;
        description::check(&described)
            .map_err(|reason| PolicyError::BadDescription { reference: reference.into(), reason })?;
        policy.name = described.name;
        policy.version = described.version;
        policy.about = described.about;
        policy.capabilities = described.capabilities.into();
        policy.options = described.options.iter().map(description::help).collect();
        policy.declared = described.options;
        Ok(policy)
    }

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

    /// An instance, already initialized, that compresses one direction. `options_json` is an object with `direction` (download or upload),
    /// `bits` and the policy's own options.
    ///
    /// # Errors
    /// [`PolicyError::WrongWorld`] for a policy that does not compress; an option or a layout that it does not take; its
    /// breakdown in `init`.
    pub fn compressor(
        self: &Arc<Self>,
        layout: &Arc<AdapterLayout>,
        options_json: &str,
    ) -> Result<CompressorInstance, PolicyError> {
        CompressorInstance::new(self, layout, options_json)
    }

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

fn wrong_wit(reference: &str, found: String) -> PolicyError {
    PolicyError::WrongWit { reference: reference.into(), expected: package(&VERSION), found: shortened(&found) }
}

fn package(version: &[u32; 3]) -> String {
    let [major, minor, patch] = version;
    format!("{PACKAGE}@{major}.{minor}.{patch}")
}

/// Advice for a component of a later version.
fn newer(version: &[u32; 3]) -> String {
    let theirs = package(version);
    format!(" (newer than this program: take a cellm that has {theirs}, or build it with this `cellm plugin build`)")
}

/// Every interface named must be of our package in a version that fits; nothing else may be imported. The latest version found.
fn check_interfaces(engine: &Engine, component: &Component, reference: &str) -> Result<[u32; 3], PolicyError> {
    let ty = component.component_type();
    let mut latest = None;
    for (name, import) in
        ty.imports(engine).map(|(name, _)| (name, true)).chain(ty.exports(engine).map(|(name, _)| (name, false)))
    {
        let Some(version) = version_of(name) else {
            if import {
                let import = shortened(name);
                return Err(PolicyError::ForeignImport { reference: reference.into(), import });
            }
            continue;
        };
        let numbers = numbers(version).ok_or_else(|| wrong_wit(reference, format!("{PACKAGE}@{version}")))?;
        // Before 1.0 the minor number must be the same.
        if numbers[..2] != VERSION[..2] {
            let advice = match numbers > VERSION {
                true => newer(&numbers),
                false => " (older than this program: build it again with this `cellm plugin build`)".into(),
            };
            return Err(wrong_wit(reference, package(&numbers) + &advice));
        }
        latest = latest.max(Some(numbers));
    }
    latest.ok_or_else(|| {
        let found = format!("nothing of {PACKAGE} (in Rust: is there an `export_...!(Component);` of the SDK?)");
        wrong_wit(reference, found)
    })
}

/// The version in `cellm:policy/interface@version`.
fn version_of(name: &str) -> Option<&str> {
    name.strip_prefix(PACKAGE)?.strip_prefix('/')?.split_once('@').map(|(_, version)| version)
}

fn numbers(version: &str) -> Option<[u32; 3]> {
    let numbers: Vec<u32> = version.split('.').map(|number| number.parse().ok()).collect::<Option<_>>()?;
    numbers.try_into().ok()
}
