//! `cellm plugin bench`: compressors beside each other on the demo's adapter and on one of ten million values.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::adapter::AdapterLayout;
use crate::config::Config;
use crate::plugin::{self, Measurement, PluginError, Settings};
use crate::policy::{LimitsConfig, Policy, PolicyConfig, PolicyHost};
use crate::report::{bytes, ratio};
use crate::trainer::{Model, Trainer};

use super::args::Bench;
use super::{Failure, output};

/// Explanation of the table's columns.
const LEGEND: &str = "
encode, decode: medians, before wire coding; bytes: the frame; reduction: over a dense f32 frame;
error: norm of what one upload loses over the norm of the delta, rounding on the wire included
";

/// Measures and prints; the policies in files come after the built-in ones.
pub fn bench(arguments: &Bench, json: bool) -> Result<u8, Failure> {
    if !(arguments.density > 0.0 && arguments.density <= 1.0) {
        return Err(Failure::usage(format!("--density is {}, allowed: above 0 and at most 1", arguments.density)));
    }
    let host = PolicyHost::new(&LimitsConfig::default(), &PolicyConfig::default())?;
    let own: Vec<_> = arguments.plugins.iter().map(|file| host.load(file)).collect::<Result<_, _>>()?;
    if let Some(other) = own.iter().find(|policy| !policy.is_compressor()) {
        return Err(PluginError::NoCompressor { policy: other.name.clone() }.into());
    }
    let beside = beside(&arguments.against, &host)?;
    let defaults = Settings { density: arguments.density, bits: arguments.bits, options: Map::new() };
    let set = Settings { options: options(&arguments.options)?, ..defaults.clone() };
    let mut rows = Vec::new();
    for layout in [demo_layout()?, plugin::large_layout()] {
        if !json {
            output::print(&heading(layout.values(), &defaults))?;
        }
        let measured = beside.iter().map(|policy| (policy, &defaults)).chain(own.iter().map(|policy| (policy, &set)));
        for (at, (policy, settings)) in measured.enumerate() {
            match plugin::measure(policy, &layout, settings) {
                Ok(measured) if json => rows.push(serde_json::json!(measured)),
                Ok(measured) => output::print(&line(&measured))?,
                // What stands beside may not do what was asked for; the user's own has to.
                Err(error) if at < beside.len() => output::say(&format!("warning: {error}")),
                Err(error) => return Err(error.into()),
            }
        }
    }
    for policy in &own {
        if let Some(said) = policy.log.summary() {
            output::say(&format!("note: policy {} says {said}", policy.name));
        }
    }
    output::show(json, || serde_json::json!({ "rows": rows }), || LEGEND.into())?;
    Ok(0)
}

/// The policies to compare with: of `all` those that compress.
fn beside(names: &[String], host: &PolicyHost) -> Result<Vec<Arc<Policy>>, Failure> {
    if names != ["all"] {
        return Ok(names.iter().map(|name| host.load(name)).collect::<Result<_, _>>()?);
    }
    let all: Vec<_> = PolicyHost::builtin_names().map(|name| host.load(name)).collect::<Result<_, _>>()?;
    Ok(all.into_iter().filter(|policy| policy.is_compressor()).collect())
}

/// `NAME=VALUE`, the value as in TOML, else a text.
fn options(given: &[String]) -> Result<Map<String, Value>, Failure> {
    let mut options = Map::new();
    for given in given {
        let Some((name, text)) = given.split_once('=') else {
            return Err(Failure::usage(format!("--option is {given}, expected NAME=VALUE")));
        };
        let parsed = format!("value = {text}").parse::<toml::Table>().ok().and_then(|mut table| table.remove("value"));
        options.insert(name.trim().into(), parsed.map_or_else(|| text.into(), |value| serde_json::json!(value)));
    }
    Ok(options)
}

fn demo_layout() -> Result<Arc<AdapterLayout>, Failure> {
    let config = Config::default();
    let trainer = Trainer::new(Model::load(&config.model)?, &config.lora, 0, config.run.seed)?;
    Ok(trainer.layout().clone())
}

fn heading(values: usize, settings: &Settings) -> String {
    let Settings { density, bits, .. } = settings;
    format!(
        "\n{values} values, density {density}, {bits} bits\n{:<16} {:>4} {:>10} {:>10} {:>9} {:>9} {:>9}\n",
        "policy", "bits", "encode ms", "decode ms", "bytes", "reduction", "error"
    )
}

fn line(of: &Measurement) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_values_of_toml_or_texts() {
        let given = ["times=3", "share = 0.5", "kind=signed", "on=true"].map(String::from);
        let options = options(&given).unwrap();
        assert_eq!(Value::Object(options), serde_json::json!({"times": 3, "share": 0.5, "kind": "signed", "on": true}));
        assert!(super::options(&["times".into()]).is_err());
    }
}
