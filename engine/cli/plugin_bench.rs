//! `cellm plugin bench`: compressors beside each other on the demo's adapter and on one of ten million values.

use std::sync::Arc;

use crate::adapter::AdapterLayout;
use crate::config::Config;
use crate::plugin::{self, Measured, Settings};
use crate::policy::{LimitsConfig, PolicyConfig, PolicyHost};
use crate::report::{bytes, ratio};
use crate::trainer::{Model, Trainer};

use super::args::Bench;
use super::{Failure, output};

/// Measures and prints; the policies given come after the built-in ones.
pub fn bench(arguments: &Bench) -> Result<u8, Failure> {
    if !(arguments.density > 0.0 && arguments.density <= 1.0) {
        return Err(Failure::usage(format!("--density is {}, allowed: above 0 and at most 1", arguments.density)));
    }
    let host = PolicyHost::new(&LimitsConfig::default(), &PolicyConfig::default())?;
    let mut policies = Vec::new();
    for builtin in PolicyHost::builtin_names() {
        policies.push(host.load(builtin)?);
    }
    for file in &arguments.plugins {
        policies.push(host.load(file)?);
    }
    let settings = Settings { density: arguments.density, bits: arguments.bits };
    for layout in [demo_layout()?, plugin::large_layout()] {
        if !arguments.json {
            output::print(&heading(layout.values(), settings))?;
        }
        for policy in policies.iter().filter(|policy| policy.is_compressor()) {
            match plugin::measure(policy, &layout, settings) {
                Ok(measured) if arguments.json => output::print_json(&serde_json::json!(measured))?,
                Ok(measured) => output::print(&line(&measured))?,
                Err(error) => eprintln!("warning: {error}"),
            }
        }
    }
    Ok(0)
}

fn demo_layout() -> Result<Arc<AdapterLayout>, Failure> {
    let config = Config::default();
    let trainer = Trainer::new(Model::load(&config.model)?, &config.lora, 0, config.run.seed)?;
    Ok(trainer.layout().clone())
}

fn heading(values: usize, settings: Settings) -> String {
    let Settings { density, bits } = settings;
    format!(
        "\n{values} values, density {density}, {bits} bits\n{:<16} {:>4} {:>10} {:>10} {:>9} {:>9} {:>9}\n",
        "policy", "bits", "encode ms", "decode ms", "bytes", "reduction", "error"
    )
}

fn line(of: &Measured) -> String {
    format!(
        "{:<16} {:>4} {:>10.3} {:>10.3} {:>9} {:>9} {:>9.4}\n",
        of.policy,
        of.bits,
        of.encode_ms,
        of.decode_ms,
        bytes(of.wire_bytes),
        ratio(of.reduction),
        of.relative_error
    )
}
