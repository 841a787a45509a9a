//! The link: what crosses between server and clients, and the bytes that it costs. In one process frames are handed over as
//! they are; the ledger counts each as it crosses.

mod config;
mod error;
mod exchange;
mod ledger;
mod nats;

pub use config::Config;
pub use error::LinkError;
pub use exchange::{Answer, Assignment, ClientUpdate, Clients, Future, Outcome};
pub use ledger::{ByteTotals, DirectionBytes, Ledger};
pub use nats::{Broker, Hub, HubArgs, MemberStatus, Membership, OrderTo, Orders, State, Uploaded, Work, run_id};
