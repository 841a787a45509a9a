//! Files of an enrolment folder: written whole or not at all, secret ones for their owner alone.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

use super::EnrolmentError;

pub(super) fn read(path: &Path) -> Result<String, EnrolmentError> {
    std::fs::read_to_string(path).map_err(|source| EnrolmentError::File { path: path.into(), source })
}

pub(super) fn write(path: &Path, text: &str) -> Result<(), EnrolmentError> {
    whole(path, text, OpenOptions::new().write(true).create(true).truncate(true))
}

/// Writes a file that nobody else on the machine may read.
pub(super) fn secret(path: &Path, text: &str) -> Result<(), EnrolmentError> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    whole(path, text, &options)
}

fn whole(path: &Path, text: &str, options: &OpenOptions) -> Result<(), EnrolmentError> {
    let part = path.with_added_extension("part");
    let written = options.open(&part).and_then(|mut file: File| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written
        .and_then(|()| std::fs::rename(&part, path))
        .map_err(|source| EnrolmentError::File { path: path.into(), source })
}
