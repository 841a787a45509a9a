//! Turns a core wasm module that carries its WIT (what a guest crate compiles to) into a component.
//!
//! In: the path of the module and the path to write to. Out: the component, validated.

use std::env;
use std::fs;

use anyhow::{Context, bail};
use wit_component::ComponentEncoder;

fn main() -> anyhow::Result<()> {
    let paths: Vec<String> = env::args().skip(1).collect();
    let [module, component] = paths.as_slice() else {
        bail!("usage: cellm-componentize MODULE.wasm COMPONENT.wasm");
    };
    let bytes = fs::read(module).with_context(|| format!("cannot read {module}"))?;
    let encoded = ComponentEncoder::default().module(&bytes)?.validate(true).encode();
    let encoded = encoded.with_context(|| format!("{module} does not make a component"))?;
    fs::write(component, encoded).with_context(|| format!("cannot write {component}"))
}
