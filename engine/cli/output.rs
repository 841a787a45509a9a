//! Results on stdout. A reader that went away (`cellm ... | head`) is no error.

use std::io::{ErrorKind, Write};

use super::Failure;

/// Writes text as it is.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::file("write", "stdout".as_ref(), error)),
        _ => Ok(()),
    }
}

/// Writes one JSON object on one line.
pub fn print_json(object: &serde_json::Value) -> Result<(), Failure> {
    print(&format!("{object}\n"))
}
