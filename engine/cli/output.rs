//! Results on stdout, words for people on stderr. A reader that went away (`cellm ... | head`) is no error. Nothing of others
//! reaches a terminal with control characters in it.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use crate::plugin::PluginError;

use super::failure::{Failure, message};
use super::visible::{line, lines};

/// Writes text to stdout.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(lines(text).as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::file("write", "stdout".as_ref(), error)),
        _ => Ok(()),
    }
}

/// Writes one JSON object on one line.
pub fn print_json(object: &serde_json::Value) -> Result<(), Failure> {
    print(&format!("{object}\n"))
}

/// Writes the object if `json` asks for one, else the text.
pub fn show(
    json: bool,
    object: impl FnOnce() -> serde_json::Value,
    text: impl FnOnce() -> String,
) -> Result<(), Failure> {
    if json { print_json(&object()) } else { print(&text()) }
}

/// Says one line on stderr. A terminal that went away hears nothing.
pub fn say(text: &str) {
    drop(writeln!(std::io::stderr(), "{}", line(text)));
}

/// Says why a command failed on stderr, and with `json` as an object on stdout too.
pub fn report(failure: Failure, json: bool) -> ExitCode {
    let text = message(failure.error.as_ref());
    // What a compiler said has lines; all other messages are one.
    match failure.error.downcast_ref::<PluginError>() {
        Some(_) => drop(writeln!(std::io::stderr(), "error: {}", lines(&text))),
        None => say(&format!("error: {text}")),
    }
    if json {
        // Whoever does not read stdout has the exit code.
        drop(print_json(&serde_json::json!({ "error": text, "exit_code": failure.code })));
    }
    ExitCode::from(failure.code)
}
