//! The `cellm` binary: everything is in the library's `cli` room.

use std::process::ExitCode;

/// Training allocates and frees many tensors; mimalloc makes it a fifth faster than the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cellm::cli::main()
}
