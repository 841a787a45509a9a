//! Compressors: what turns adapter weights or a client's delta into a wire frame, and back, through a policy.
//!
//! In: vectors and frames. Out: frames and vectors. A [`Codec`] does one direction; the [`Compressors`] pool runs
//! codecs as supervised workers. What is generic about compression is here too, whatever the policy: error feedback, a
//! reference that server and clients share, and what an owner remembers for its policies.

mod codec;
mod config;
mod dry_run;
mod error;
mod feedback;
mod memories;
mod plan;
mod pool;
mod reference;
mod tracker;
mod worker;

pub use codec::{Codec, Decoded};
pub use config::{Bits, Config};
pub use error::CompressorError;
pub use feedback::ErrorFeedback;
pub use memories::{DamagedMemories, Memories};
pub use plan::{CodecPlan, Occasion, OfRun, Plans};
pub use pool::Compressors;
pub use reference::{Reference, ReferenceError};
pub use tracker::{Sent, Tracker};
pub use worker::{Broadcast, Upload};

#[cfg(test)]
mod codec_tests;
#[cfg(test)]
mod tests;
