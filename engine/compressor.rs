//! Compressors: what turns adapter weights or a client's delta into a wire frame, and back, through a policy.
//!
//! In: vectors and frames. Out: frames and vectors. A [`Codec`] does one direction; the [`Compressors`] pool runs
//! codecs as supervised workers.

mod codec;
mod config;
mod pool;

pub use codec::{Codec, CodecPlan, CompressorError, Occasion};
pub use config::{Bits, Config};
pub use pool::{Compressors, Plans};
