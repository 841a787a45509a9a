//! From the config options of a command to a checked config, and the `config` commands.

use crate::config::{Layers, Loaded, Override, keys_text};

use super::Failure;
use super::args::Sources;
use super::output::print;

/// Reads the config that `sources` and this process's environment name.
pub fn load(sources: &Sources) -> Result<Loaded, Failure> {
    Ok(layers(sources)?.load()?)
}

/// The layers before they are read, so that a command can add its own.
pub fn layers(sources: &Sources) -> Result<Layers, Failure> {
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
pub fn show(sources: &Sources) -> Result<u8, Failure> {
    print(&load(sources)?.to_toml())?;
    Ok(0)
}

/// `cellm config keys`.
pub fn keys() -> Result<u8, Failure> {
    print(&keys_text())?;
    Ok(0)
}
