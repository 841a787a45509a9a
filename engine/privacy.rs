//! Differential privacy of clients: how much one client can change, the noise that hides it, and what rounds of it have
//! given away.
//!
//! In: section `privacy`. Out: deltas with bounded norm, seeded noise, and the epsilon after each round.

mod accountant;
mod config;
mod noise;
mod spending;

pub use accountant::Accountant;
pub use config::{Config, Place};
pub use noise::{clip, noise_stream, perturb};
pub use spending::Spending;
