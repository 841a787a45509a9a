//! The journal's place in a run directory, and by it the test of a directory for a run.

use std::path::{Path, PathBuf};

use crate::journal::Journal;

/// The directory of a run's journal.
pub(super) fn journal_dir(run_dir: &Path) -> PathBuf {
    run_dir.join("journal")
}

/// True for a directory with a run that can be gone on with: from the moment on in which its journal gets its name.
/// Everything else that a run needs is there before.
pub fn is_run(run_dir: &Path) -> bool {
    Journal::exists(&journal_dir(run_dir))
}
