//! The participants: who they are and may be, and the tiers of clients, which differ in how much of the adapter they are sent
//! and how much of it they train.

mod enrolment;
mod members;
mod tier;

pub use enrolment::{Credentials, DEFAULT_ADDRESS, Enrolment, EnrolmentError, Member, check_address};
pub use members::Roster;
pub use tier::{Tier, Tiers};
