//! The `cellm` binary: everything is in the library's `cli` room.

use std::process::ExitCode;

/// Training allocates and frees many tensors, and frames of a megabyte come and go: mimalloc keeps their pages.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cellm::cli::main()
}
