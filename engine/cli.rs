//! The command line: arguments in, an exit code out. Commands are thin; the work is in the rooms.
//!
//! Results go to stdout, everything for people (progress, warnings, errors) to stderr. With `--json` the last line of stdout is
//! one JSON object, whatever the command. Exit codes: 0 done, 2 usage or config, 3 data or model, 4 policy, 5 interrupted but
//! resumable, 6 the link of a deployed federation, 1 anything else, a run whose last rounds changed nothing among it.

mod adapted_config;
mod args;
mod client;
mod config;
mod data;
mod doctor;
mod enroll;
mod eval;
mod experiment;
mod export;
mod failure;
mod generate;
mod logging;
mod output;
mod plugin;
mod plugin_bench;
mod plugin_listing;
mod plugin_project;
mod progress;
mod run;
mod server;
mod signals;
mod summary_table;
mod visible;

use std::process::ExitCode;

use clap::Parser;

use args::{Arguments, Command, ConfigCommand};
use failure::Failure;

/// Parses the command line and does what it says.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let json = arguments.verbosity.json;
    match dispatch(arguments) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => output::report(failure, json),
    }
}

fn dispatch(arguments: Arguments) -> Result<u8, Failure> {
    let verbosity = arguments.verbosity;
    match arguments.command.unwrap_or(Command::Run(arguments.run)) {
        Command::Run(run) => run::run(&run, run::Role::Simulate, verbosity),
        Command::Server(server) => server::server(&server, verbosity),
        Command::Client(arguments) => client::client(&arguments, verbosity),
        Command::Enroll(command) => enroll::enroll(&command, verbosity.json),
        Command::Eval(eval) => eval::eval(&eval, verbosity),
        Command::Generate(generate) => generate::generate(&generate, verbosity),
        Command::Export(export) => export::export(&export, verbosity),
        Command::Experiment(experiment) => experiment::experiment(&experiment, verbosity),
        Command::Report(report) => export::report(&report, verbosity.json),
        Command::Plugin(command) => plugin::plugin(command, verbosity.json),
        Command::Data(command) => data::data(&command, verbosity.json),
        Command::Config(ConfigCommand::Show(sources)) => config::show(&sources, verbosity.json),
        Command::Config(ConfigCommand::Keys) => config::keys(verbosity.json),
        Command::Doctor(sources) => doctor::doctor(&sources, verbosity),
    }
}
