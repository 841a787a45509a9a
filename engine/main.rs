//! The `cellm` binary: everything is in the library's `cli` room.

use std::process::ExitCode;

/// Training allocates and frees many tensors, and frames of a megabyte come and go: mimalloc keeps their pages.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Milliseconds before the pages of freed memory go back to the system; mimalloc's own 1000 are shorter than a step of a
/// real model, which frees and takes its activations anew, and a page that comes back has to be cleared first.
const PURGE_DELAY: std::ffi::c_long = 30_000;
/// `mi_option_purge_delay` of mimalloc.h, which the crate has no name for.
const PURGE_DELAY_OPTION: libmimalloc_sys::mi_option_t = 15;

fn main() -> ExitCode {
    // SAFETY: a call of the allocator that only sets the value of an option that it has.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY_OPTION, PURGE_DELAY) };
    cellm::cli::main()
}
