//! Where text comes from: files or the bundled speeches in; records, client shards and token sequences out.
//!
//! [`Dataset::load`] reads records, [`partition()`] gives each client its shard, [`tokenize`] makes sequences of a shard's records.

pub mod bundled;
mod config;
mod dataset;
mod error;
mod image;
pub mod partition;
mod reader;
mod template;
mod tokenize;

pub use bundled::bundled_speeches;
pub use config::{Config, Format, LongRecords, Source, Task};
pub use dataset::{Dataset, Record};
pub use error::DataError;
pub use image::Image;
pub use partition::{Partition, Shard, partition};
pub use tokenize::{Goal, Sequence, Tokenizer, tokenize};
