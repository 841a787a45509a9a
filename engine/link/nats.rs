//! The link over NATS JetStream: chunks in a stream, orders and signs of life beside it.

mod broker;
mod chunks;
mod control;
mod hub;
mod membership;
mod session;
mod subjects;

pub use broker::Broker;
pub use hub::{Hub, HubArgs, MemberStatus};
pub use membership::{Membership, OrderTo, Orders, State, Uploaded, Work};
pub use session::run_id;
