//! Limits of what a template may ask for, and the error of one that asks for more or for what there is not.

use minijinja::{Error, ErrorKind};

/// Lists in lists that are written.
pub(super) const DEPTH: usize = 200;

/// Letters that a filter or method may be asked for.
const WIDTH: usize = 1_000_000;

pub(super) fn limited(name: &str, width: usize) -> Result<usize, Error> {
    match width {
        0..=WIDTH => Ok(width),
        _ => Err(wrong(format!("{name} is asked for a width of {width}, the limit is {WIDTH}"))),
    }
}

/// The error that a template goes on with.
pub(super) fn wrong(reason: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, reason.into())
}
