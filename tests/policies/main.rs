//! Hostile policies, each a component of its own: `tests/fixtures/hostile.wasm` with another act in its marker, or with its
//! bytes damaged. Every one must end in a typed error within its limits, without a panic or a hang, with the host's memory
//! bounded, and leave the host usable.

mod acts;
mod allocator;
mod binaries;
mod hooks;
mod life;
mod misuse;
mod reuse;
mod says;
mod support;
