//! The link: what crosses between server and clients, and the bytes that it costs. In one process frames are handed over as
//! they are; the ledger counts each as it crosses.

mod ledger;

pub use ledger::{ByteTotals, DirectionBytes, Ledger};
