//! `cellm-componentize MODULE.wasm COMPONENT.wasm`, for `plugins/build.sh`.

use std::env;
use std::fs;
use std::process::ExitCode;

fn main() -> ExitCode {
    let paths: Vec<String> = env::args().skip(1).collect();
    let [module, component] = paths.as_slice() else {
        eprintln!("usage: cellm-componentize MODULE.wasm COMPONENT.wasm");
        return ExitCode::from(2);
    };
    match convert(module, component) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn convert(module: &str, component: &str) -> Result<(), String> {
    let bytes = fs::read(module).map_err(|error| format!("cannot read {module}: {error}"))?;
    let made = cellm_componentize::componentize(&bytes);
    let made = made.map_err(|error| format!("{module} does not make a component: {error}"))?;
    fs::write(component, made).map_err(|error| format!("cannot write {component}: {error}"))
}
