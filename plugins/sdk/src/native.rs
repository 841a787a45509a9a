//! The host's types, natively: the same names and signatures as on wasm, on `cellm-kernels`.
//!
//! A mistake that is a trap in the engine is a panic here, with a message that names the call and both values.

pub mod algebra;
mod codes;
pub mod exports;
mod index_set;
pub mod memory;
pub mod message;
mod vector;

use crate::LogLevel;

pub use codes::Codes;
pub use index_set::IndexSet;
pub use memory::{forget, load, load_bytes, save, save_bytes};
pub use message::Message;
pub use vector::Vector;

/// Words number `first` to `first + count - 1` of ChaCha8 stream `number` under this seed: the same on every machine.
pub fn random_bits(seed: u64, number: u64, first: u64, count: u32) -> Vec<u32> {
    cellm_kernels::random_bits(seed, number, first, count as usize)
}

/// A line for whoever runs the engine; natively on stderr.
pub fn log(level: LogLevel, text: &str) {
    eprintln!("{level:?}: {text}");
}

/// Panics where the host would trap: two lengths that differ.
#[track_caller]
fn expect_fit(call: &str, one: usize, other: usize) {
    assert!(one == other, "{call}: {one} values on one side, {other} on the other");
}

/// Values number `offset` to `offset + count - 1`.
#[track_caller]
fn range<'a, T>(call: &str, values: &'a [T], offset: u32, count: u32) -> &'a [T] {
    let end = offset as usize + count as usize;
    let len = values.len();
    values.get(offset as usize..end).unwrap_or_else(|| panic!("{call}: {offset} + {count} of {len} values"))
}
