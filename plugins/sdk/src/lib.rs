//! Write cellm policies in Rust.
//!
//! A policy is a type that implements [`Policy`] and [`Compressor`] or [`Aggregator`] (and the optional hooks it wants), and
//! one line for each interface that its component exports:
//!
//! ```text
//! type Component = cellm_plugin::Exported<MyIdea>;
//! cellm_plugin::export_compressor!(Component);
//! ```
//!
//! On wasm the types are handles of the host (`wit/policy.wit` documents them). Natively the types of the same names work on
//! the same kernels, so `cargo test` runs a policy's mathematics without a component; [`harness`] plays the engine.

#[expect(missing_docs, reason = "wit-bindgen adds functions without documentation")]
mod bindings;
mod hooks;
pub mod mean;
mod messages;
pub mod option;
mod options;
pub mod pairs;
mod precision;

#[cfg(not(target_arch = "wasm32"))]
pub mod harness;
#[cfg(not(target_arch = "wasm32"))]
mod native;
#[cfg(target_arch = "wasm32")]
mod wasm;

pub use bindings::cellm::policy::types::{
    BadOption, Capabilities, Content, Context, Description, Direction, Layout, LogLevel, NamedOption, OptionInfo,
    OptionKind, OptionValue, PolicyError, Role, TensorInfo, ValueCoding,
};
pub use hooks::{
    Acknowledging, Aggregator, CatchingUp, Compressor, Outcome, Planning, Policy, RoundInfo, Settings, Stepping,
    TrainingPlan, UpdateInfo,
};
pub use messages::{Packed, Unpacked, bad_option, kept, share_of, value_coding};
#[cfg(not(target_arch = "wasm32"))]
pub use native::{
    Codes, IndexSet, Message, Vector, algebra, exports, forget, load, load_bytes, log, memory::Memory, message::Part,
    random_bits, save, save_bytes,
};
pub use options::Options;
pub use precision::{Precision, put_chosen, take_chosen};

#[cfg(target_arch = "wasm32")]
pub use bindings::cellm::policy::{
    algebra,
    host::{Codes, IndexSet, Message, Vector, forget, load, load_bytes, log, random_bits, save, save_bytes},
};
#[cfg(target_arch = "wasm32")]
pub use wasm::worlds as exports;

/// A policy as `export_compressor!` and the like take it: `type Component = Exported<MyIdea>;`.
#[derive(Debug)]
pub struct Exported<P>(std::marker::PhantomData<P>);
