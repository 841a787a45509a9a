//! The link: how frames travel between server and clients, and where their bytes are counted.
//!
//! In: frames. Out: the same frames at the other end, their length by kind for the ledger and the metrics. This is
//! the in-process link of a simulated federation.

mod local;

pub use local::Link;
