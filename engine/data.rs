//! Where data comes from: files or the bundled speeches in; records, client shards and token sequences out.
//!
//! [`Dataset::load`] looks for records and keeps their places, [`partition()`] gives each client its shard, [`Dataset::read`]
//! reads the records of a shard, [`tokenize`] makes sequences of them.

pub mod bundled;
mod bytes;
mod chat;
mod config;
mod dataset;
mod decode;
mod error;
mod finder;
mod folder;
mod guard;
mod heatmap;
mod image;
mod inspection;
mod json;
mod names;
mod parquet;
pub mod partition;
mod pictures;
mod pieces;
mod reader;
mod recipe;
mod record;
#[cfg(test)]
mod reference;
mod sequence;
mod store;
mod table;
mod template;
mod tokenizer;
mod unusable;
mod validate;

pub use self::image::Image;
pub use bundled::bundled_speeches;
pub use chat::Conversation;
pub use config::{Config, Format, Invalid, LongRecords, Source, Task};
pub use dataset::Dataset;
pub use error::DataError;
pub use inspection::{Inspected, Inspection};
pub use partition::{Partition, Shard, partition};
pub use recipe::Content;
pub use record::Record;
pub use sequence::{Goal, Sequence, tokenize};
pub use tokenizer::Tokenizer;
pub use unusable::LeftOut;
