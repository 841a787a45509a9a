//! Compressors: what turns adapter weights or a client's delta into a wire frame, and back, through a policy.

mod config;

pub use config::{Bits, Config};
