//! The participants: the tiers of clients, which differ in how much of the adapter they are sent and how much of it
//! they train.

mod tier;

pub use tier::{Tier, Tiers};
