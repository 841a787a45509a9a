//! `cellm plugin ...`: each command to the file that does it.

use super::args::PluginCommand;
use super::{Failure, plugin_bench, plugin_listing, plugin_project};

/// Does what the command says.
pub fn plugin(command: PluginCommand, json: bool) -> Result<u8, Failure> {
    match command {
        PluginCommand::List => plugin_listing::list(json),
        PluginCommand::Inspect { plugin } => plugin_listing::inspect(&plugin, json),
        PluginCommand::New { dir, lang, kind } => plugin_project::new(&dir, lang, kind, json),
        PluginCommand::Build { dir } => plugin_project::build(&dir, json),
        PluginCommand::Check { plugin } => plugin_project::check(&plugin, json),
        PluginCommand::Bench(bench) => plugin_bench::bench(&bench, json),
    }
}
