//! A client: one participant, its shard and its state. A simulated one is spawned for the rounds that it is sampled in; one of a
//! deployed federation is a member, in a process of its own, with a store of its own.

mod actor;
mod exchange;
mod member;
mod simulated;
mod state;
mod store;

pub use crate::trainer::LocalConfig as Config;
pub use exchange::{ClientError, Participants};
pub use member::{Member, MemberEnd, MemberError};
pub use simulated::Simulated;
pub use state::{ClientState, DamagedState};
pub use store::{Store, StoreError};
