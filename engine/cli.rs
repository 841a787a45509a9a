//! The command line: arguments in, an exit code out. Commands are thin; the work is in the rooms.
//!
//! Results go to stdout, everything for people (progress, warnings, errors) to stderr. With `--json` the last line of stdout is
//! one JSON object, whatever the command. Exit codes: 0 done, 2 usage or config, 3 data or model, 4 policy, 5 interrupted but
//! resumable, 1 anything else, a run whose last rounds changed nothing among it.

mod args;
mod data;
mod doctor;
mod eval;
mod experiment;
mod export;
mod failure;
mod logging;
mod output;
mod plugin;
mod plugin_bench;
mod plugin_listing;
mod plugin_making;
mod progress;
mod run;
mod sources;
mod stop;
mod table;
mod visible;

use std::process::ExitCode;

use clap::Parser;

use args::{Arguments, Command, ConfigCommand};
use failure::Failure;

/// Parses the command line and does what it says.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let json = arguments.voice.json;
    match dispatch(arguments) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => output::report(failure, json),
    }
}

fn dispatch(arguments: Arguments) -> Result<u8, Failure> {
    let voice = arguments.voice;
    match arguments.command.unwrap_or(Command::Run(arguments.run)) {
        Command::Run(run) => run::run(&run, voice),
        Command::Eval(eval) => eval::eval(&eval, voice),
        Command::Export(export) => export::export(&export, voice),
        Command::Experiment(experiment) => experiment::experiment(&experiment, voice),
        Command::Report(report) => export::report(&report, voice.json),
        Command::Plugin(command) => plugin::plugin(command, voice.json),
        Command::Data(command) => data::data(&command, voice.json),
        Command::Config(ConfigCommand::Show(sources)) => sources::show(&sources, voice.json),
        Command::Config(ConfigCommand::Keys) => sources::keys(voice.json),
        Command::Doctor(sources) => doctor::doctor(&sources, voice),
    }
}
