//! From the config options of a command to a checked config, and the `config` commands.

use serde_json::json;

use crate::config::{Layers, Loaded, Override, keys_json, keys_text};

use super::args::ConfigSources;
use super::{Failure, output};

/// Reads the config that `sources` and this process's environment name.
pub fn load(sources: &ConfigSources) -> Result<Loaded, Failure> {
    Ok(layers(sources)?.load()?)
}

/// The layers before they are read, so that a command can add its own.
pub fn layers(sources: &ConfigSources) -> Result<Layers, Failure> {
    // A variable that is not Unicode cannot be one of ours.
    let environment =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Ok(Layers {
        files: sources.config.clone(),
        tables: Vec::new(),
        profile: sources.profile.clone(),
        environment: environment.collect(),
        overrides: sources.set.iter().map(|text| Override::parse(text)).collect::<Result<_, _>>()?,
    })
}

/// `cellm config show`.
pub fn show(sources: &ConfigSources, json: bool) -> Result<u8, Failure> {
    let loaded = load(sources)?;
    let object = || json!({ "config": loaded.config.to_json(), "origins": loaded.origins() });
    output::show(json, object, || loaded.to_toml())?;
    Ok(0)
}

/// `cellm config keys`.
pub fn keys(json: bool) -> Result<u8, Failure> {
    output::show(json, || json!({ "keys": keys_json() }), keys_text)?;
    Ok(0)
}
