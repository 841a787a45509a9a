//! A client: one participant, its shard and its state. Spawned for the rounds it is sampled in.

mod actor;
mod exchange;
mod state;

pub use crate::trainer::LocalConfig as Config;
pub use actor::{Client, ClientArgs, ClientMsg, ClientRef};
pub use exchange::{Assignment, ClientError, ClientUpdate, Participants};
pub use state::{ClientState, DamagedState};
