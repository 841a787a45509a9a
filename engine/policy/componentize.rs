//! The last step of building a policy: a core module that carries its WIT becomes a component.
//!
//! The component tools are a component themselves (`plugins/componentize`), run in a sandbox of their own that lends
//! nothing: as a dependency they would change features of the wasm runtime, and no user has to install them.

use wasmtime::component::{Component, Linker};
use wasmtime::{Cache, CacheConfig, Config, Engine, Store, StoreLimits, StoreLimitsBuilder};

wasmtime::component::bindgen!({ world: "componentize", path: "plugins/componentize/componentize.wit" });

const TOOLS: &[u8] = include_bytes!("../../plugins/prebuilt/componentize.wasm");
/// More than any module of a policy needs.
const MEMORY_BYTES: usize = 1 << 30;

/// The component of a module, validated. The first call on a machine takes seconds, later ones find the tools compiled.
///
/// # Errors
/// The tools' message: no WIT in the module, or an import that the WIT does not have.
pub fn componentize(module: &[u8]) -> Result<Vec<u8>, String> {
    run(module).map_err(|error| format!("the component tools broke down: {error:#}"))?
}

fn run(module: &[u8]) -> wasmtime::Result<Result<Vec<u8>, String>> {
    let mut config = Config::new();
    config.cache(Cache::new(CacheConfig::new()).ok());
    let engine = Engine::new(&config)?;
    let tools = Component::new(&engine, TOOLS)?;
    let limits = StoreLimitsBuilder::new().memory_size(MEMORY_BYTES).build();
    let mut store: Store<StoreLimits> = Store::new(&engine, limits);
    store.limiter(|limits| limits);
    store.set_hostcall_fuel(MEMORY_BYTES);
    Componentize::instantiate(&mut store, &tools, &Linker::new(&engine))?.call_componentize(&mut store, module)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_module_is_refused_with_a_reason() {
        for bytes in [b"hello".as_slice(), b"", b"\0asm\x01\0\0\0\xff\xff"] {
            assert!(!componentize(bytes).unwrap_err().is_empty());
        }
    }
}
