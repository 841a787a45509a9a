//! Results on stdout, words for people on stderr. A reader that went away (`cellm ... | head`) is no error. Nothing of others
//! reaches a terminal with control characters in it.

use std::io::{ErrorKind, Write};

use super::Failure;
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
