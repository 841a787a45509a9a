//! Turns a core wasm module that carries its WIT (what a guest crate compiles to) into a component.
//!
//! In: the bytes of the module. Out: those of the component, validated. It runs natively (`plugins/build.sh`) and as a
//! component itself (`cellm plugin build`): the engine has it prebuilt and does not depend on the component tools, whose
//! features would change those of the wasm runtime.

#[cfg(target_arch = "wasm32")]
mod guest;

use wit_component::ComponentEncoder;

/// The component of a module.
///
/// # Errors
/// The fault of the module: no WIT in it, or an import or export that the WIT does not have.
pub fn componentize(module: &[u8]) -> Result<Vec<u8>, String> {
    let mut encoder = ComponentEncoder::default();
    encoder.validate(true);
    encoder.module(module).and_then(|encoder| encoder.encode()).map_err(|error| format!("{error:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_module_is_refused() {
        assert!(componentize(b"hello").is_err());
        assert!(componentize(b"").is_err());
    }
}
