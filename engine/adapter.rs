//! The goods that every room hands on: what a LoRA adapter looks like, its values, and what a policy makes of them.

pub mod float_bytes;
mod layout;
mod message;
pub mod peft;
mod weights;

pub use layout::{AdapterLayout, LayoutHash, Role, TensorInfo, TensorSpec};
pub use message::{Message, Part, ValueCoding};
pub use weights::{AdapterDelta, AdapterWeights};
