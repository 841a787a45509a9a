//! `cellm plugin ...`: which policies there are; making, checking and measuring new ones is in the files beside.

use std::fmt::Write;

use crate::policy::{LimitsConfig, PolicyConfig, PolicyHost};

use super::args::PluginCommand;
use super::{Failure, output, plugin_bench, plugin_making};

/// Does what the command says.
pub fn plugin(command: PluginCommand) -> Result<u8, Failure> {
    match command {
        PluginCommand::List => list(),
        PluginCommand::Inspect { plugin } => inspect(&plugin),
        PluginCommand::New { dir, lang, kind } => plugin_making::new(&dir, lang, kind),
        PluginCommand::Build { dir } => plugin_making::build(&dir),
        PluginCommand::Check { plugin } => plugin_making::check(&plugin),
        PluginCommand::Bench(bench) => plugin_bench::bench(&bench),
    }
}

/// The built-in policies, one a line.
fn list() -> Result<u8, Failure> {
    let host = PolicyHost::new(&LimitsConfig::default(), &PolicyConfig::default())?;
    let mut text = String::new();
    let width = PolicyHost::builtin_names().map(str::len).max().unwrap_or(0);
    for name in PolicyHost::builtin_names() {
        let policy = host.load(name)?;
        let _ =
            writeln!(text, "{:<width$} {:<8} {:<26} {}", policy.name, policy.version, policy.worlds(), policy.about);
    }
    output::print(&text)?;
    Ok(0)
}

/// One policy with its options.
fn inspect(reference: &str) -> Result<u8, Failure> {
    let policy = PolicyHost::new(&LimitsConfig::default(), &PolicyConfig::default())?.load(reference)?;
    let mut text = String::new();
    for (name, value) in [
        ("name", policy.name.as_str()),
        ("version", &policy.version),
        ("about", &policy.about),
        ("serves as", policy.worlds()),
        ("blake3", &policy.hash.to_string()),
    ] {
        let _ = writeln!(text, "{name:<10} {value}");
    }
    if policy.options.is_empty() {
        text.push_str("options    none\n");
    } else {
        text.push_str("options\n");
    }
    for option in &policy.options {
        let _ = writeln!(text, "  {} = {}    {}", option.name, option.default, option.allowed);
        let _ = writeln!(text, "      {}", option.about);
    }
    output::print(&text)?;
    Ok(0)
}
