//! Where the journal of a run lies, and by it whether a directory holds a run.

use std::path::{Path, PathBuf};

use crate::journal::Journal;

/// Where the journal of a run lies.
pub(super) fn journal_dir(run_dir: &Path) -> PathBuf {
    run_dir.join("journal")
}

/// Whether a directory holds a run that can be gone on with: from the moment on in which its journal gets its name. Everything
/// else that a run needs is there before.
pub fn is_run(run_dir: &Path) -> bool {
    Journal::exists(&journal_dir(run_dir))
}
