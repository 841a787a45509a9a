//! The engine that compiles policies: one for the process. In: a built-in name or a path. Out: a [`Policy`].

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Cache, CacheConfig, Config, Engine};

use super::bindings;
use super::compile::compile;
use super::component::Policy;
use super::error::nearest;
use super::instance::EPOCH_MS;
use super::state::State;
use super::trust::{Reference, Trust, other_pin};
use super::{LimitsConfig, PolicyConfig, PolicyError, PolicyHash};

/// Policies that are compiled in, by name, as `plugins/build.sh` made them.
const BUILTIN: &[(&str, &[u8])] = &[
    ("dense", include_bytes!("../../plugins/prebuilt/dense.wasm")),
    ("flasc", include_bytes!("../../plugins/prebuilt/flasc.wasm")),
    ("fedavg", include_bytes!("../../plugins/prebuilt/fedavg.wasm")),
    ("topk-ef", include_bytes!("../../plugins/prebuilt/topk-ef.wasm")),
    ("stc", include_bytes!("../../plugins/prebuilt/stc.wasm")),
    ("topk-cm", include_bytes!("../../plugins/prebuilt/topk-cm.wasm")),
    ("eden", include_bytes!("../../plugins/prebuilt/eden.wasm")),
    ("fedsrd-topk", include_bytes!("../../plugins/prebuilt/fedsrd-topk.wasm")),
    ("ecolora", include_bytes!("../../plugins/prebuilt/ecolora.wasm")),
    ("unicast", include_bytes!("../../plugins/prebuilt/unicast.wasm")),
    ("sparse-adapter", include_bytes!("../../plugins/prebuilt/sparse-adapter.wasm")),
    ("federated-select", include_bytes!("../../plugins/prebuilt/federated-select.wasm")),
    ("adapter-lth", include_bytes!("../../plugins/prebuilt/adapter-lth.wasm")),
    ("role-mask", include_bytes!("../../plugins/prebuilt/role-mask.wasm")),
    ("trimmed-mean", include_bytes!("../../plugins/prebuilt/trimmed-mean.wasm")),
    ("median", include_bytes!("../../plugins/prebuilt/median.wasm")),
    ("krum", include_bytes!("../../plugins/prebuilt/krum.wasm")),
    ("hetlora", include_bytes!("../../plugins/prebuilt/hetlora.wasm")),
    ("flexlora", include_bytes!("../../plugins/prebuilt/flexlora.wasm")),
    ("fedex", include_bytes!("../../plugins/prebuilt/fedex.wasm")),
    ("flora", include_bytes!("../../plugins/prebuilt/flora.wasm")),
    ("fedlol", include_bytes!("../../plugins/prebuilt/fedlol.wasm")),
];

/// Compiles and links policies under one set of limits.
pub struct PolicyHost {
    engine: Engine,
    linker: Linker<State>,
    limits: LimitsConfig,
    trust: Trust,
}

impl PolicyHost {
    /// Starts the engine and the clock behind its deadlines. Compiled policies are cached in the user's cache directory;
    /// without one they are compiled at every start (tenths of a second each).
    ///
    /// # Errors
    /// [`PolicyError::Engine`] where the engine or its clock cannot start; [`PolicyError::Setting`] for a bad entry of
    /// `policy.allow` or `policy.keys`.
    pub fn new(limits: &LimitsConfig, trust: &PolicyConfig) -> Result<Self, PolicyError> {
        let mut config = Config::new();
        config
            .epoch_interruption(true)
            // The bits of a NaN differ between machines unless they are made the same.
            .cranelift_nan_canonicalization(true)
            .wasm_relaxed_simd(false)
            .cache(Cache::new(CacheConfig::new()).ok());
        let engine = Engine::new(&config).map_err(|error| PolicyError::Engine(error.to_string()))?;
        let mut linker = Linker::new(&engine);
        bindings::Everything::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)
            .map_err(|error| PolicyError::Engine(error.to_string()))?;
        start_clock(&engine)?;
        Ok(Self { engine, linker, limits: limits.clone(), trust: Trust::new(trust)? })
    }

    /// Names of the policies that are compiled in.
    pub fn builtin_names() -> impl Iterator<Item = &'static str> {
        BUILTIN.iter().map(|(name, _)| *name)
    }

    /// The file that a reference names, whether it is there or not; none for a policy that is compiled in. A pin behind it is
    /// no part of the name.
    pub fn file(reference: &str) -> Option<&Path> {
        let place = Reference::parse(reference).map_or(reference, |reference| reference.place);
        (!Self::builtin_names().any(|name| name == place)).then(|| Path::new(place))
    }

    /// Loads a policy by its built-in name or from the path of a component, and asks it to describe itself. `@blake3:HEX`
    /// behind either pins its bytes.
    ///
    /// # Errors
    /// When it is not there, is not what was pinned, may not run here, or is no policy.
    pub fn load(&self, reference: &str) -> Result<Arc<Policy>, PolicyError> {
        let reference = Reference::parse(reference)?;
        let place = reference.place;
        if let Some((_, bytes)) = BUILTIN.iter().find(|(name, _)| *name == place) {
            reference.check(PolicyHash::of(bytes))?;
            return self.compile((place, true), bytes);
        }
        let limit = self.component_limit();
        // One byte more shows that there are too many, however many there are.
        let read = |file: File| {
            let mut bytes = Vec::new();
            file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map(|_| bytes)
        };
        if Path::new(place).is_dir() {
            return Err(folder(place));
        }
        let bytes = File::open(place).and_then(read).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => missing(place),
            _ => PolicyError::Unreadable { reference: place.into(), source },
        })?;
        if bytes.len() as u64 > limit {
            return Err(PolicyError::TooLarge { reference: place.into(), limit });
        }
        reference.check(PolicyHash::of(&bytes))?;
        self.trust.check_signature(place, &bytes)?;
        self.compile((place, false), &bytes)
    }

    /// Loads a policy from the bytes of a component; `reference` names it in errors. Where `policy.keys` ask for a
    /// signature, it stands in the file `{reference}.minisig`.
    ///
    /// # Errors
    /// When it may not run here, or is no policy.
    pub fn load_bytes(&self, reference: &str, bytes: &[u8]) -> Result<Arc<Policy>, PolicyError> {
        self.trust.check_signature(reference, bytes)?;
        self.compile((reference, false), bytes)
    }

    fn component_limit(&self) -> u64 {
        u64::from(self.limits.component_mb) << 20
    }

    fn compile(&self, (reference, built_in): (&str, bool), bytes: &[u8]) -> Result<Arc<Policy>, PolicyError> {
        let limit = self.component_limit();
        if bytes.len() as u64 > limit {
            return Err(PolicyError::TooLarge { reference: reference.into(), limit });
        }
        self.trust.check_hash(reference, PolicyHash::of(bytes))?;
        let policy = compile(&self.engine, &self.linker, &self.limits, (reference, built_in), bytes)?;
        self.trust.check_name(&policy.name, policy.hash)?;
        Ok(Arc::new(policy))
    }
}

/// The error for a folder in place of a component: a project's component is named like its folder.
fn folder(place: &str) -> PolicyError {
    let dir = Path::new(place);
    let name = std::path::absolute(dir).ok().and_then(|dir| Some(dir.file_name()?.to_owned())).unwrap_or_default();
    let component = dir.join(format!("{}.wasm", name.display()));
    let (built, component) = (component.is_file(), component.display().to_string());
    PolicyError::Folder { reference: place.into(), component, built }
}

/// The error for a name that no policy and no file has.
fn missing(place: &str) -> PolicyError {
    if let Some(error) = other_pin(place) {
        return error;
    }
    let builtin = PolicyHost::builtin_names().collect::<Vec<_>>().join(", ");
    PolicyError::Missing { reference: place.into(), nearest: nearest(place, PolicyHost::builtin_names()), builtin }
}

/// Ticks as long as the engine lives.
fn start_clock(engine: &Engine) -> Result<(), PolicyError> {
    let engine = engine.weak();
    let tick = move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            thread::sleep(Duration::from_millis(EPOCH_MS));
        }
    };
    #[expect(clippy::disallowed_methods, reason = "it does nothing that could panic, and ends with the engine")]
    let started = thread::Builder::new().name("policy-clock".into()).spawn(tick);
    started.map(drop).map_err(|error| PolicyError::Engine(format!("no thread for deadlines: {error}")))
}
