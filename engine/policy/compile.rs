//! A component's bytes in; a policy that has been checked and has said what it is out.

use std::sync::Arc;

use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

use super::bindings::exports::cellm::policy::describing;
use super::component::{Hooks, Policy};
use super::description;
use super::instance::{Instance, shortened};
use super::state::State;
use super::{Capabilities, LimitsConfig, PolicyError, PolicyHash};

/// The WIT package and the version of it that this program offers. Components of an older version with the same first two
/// numbers run too: they ask for less.
const PACKAGE: &str = "cellm:policy";
const VERSION: [u32; 3] = [0, 1, 1];

/// Compiles a component, checks what it imports and exports, and asks it what it is.
///
/// # Errors
/// A [`PolicyError`] that names the reference and what is wrong with it.
pub(super) fn compile(
    engine: &Engine,
    linker: &Linker<State>,
    limits: &LimitsConfig,
    (reference, built_in): (&str, bool),
    bytes: &[u8],
) -> Result<Policy, PolicyError> {
    let not_a_component =
        |reason: String| PolicyError::NotAComponent { reference: reference.into(), reason: shortened(&reason) };
    match bytes {
        [0, b'a', b's', b'm', _, _, 1, 0, ..] => {}
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => {
            return Err(not_a_component("it is a core module (`cellm plugin build` makes a component of it)".into()));
        }
        _ => return Err(not_a_component(format!("its {} bytes do not start as one", bytes.len()))),
    }
    let component = Component::new(engine, bytes).map_err(|error| not_a_component(error.root_cause().to_string()))?;
    let version = check_interfaces(engine, &component, reference)?;
    let linked = linker.instantiate_pre(&component).map_err(|error| {
        let newer = if version > VERSION { newer(&version) } else { String::new() };
        wrong_wit(reference, format!("{}{newer}, {error:#}", package(&version)))
    })?;
    let describing = describing::GuestIndices::new(&linked)
        .map_err(|error| wrong_wit(reference, format!("no describing: {}", error.root_cause())))?;
    let mut policy = Policy {
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
