//! Data: files or the bundled speeches in; records, client shards and token sequences out.
//!
//! [`Dataset::load`] scans for records and keeps their positions, [`partition()`] gives each client its shard,
//! [`Dataset::read`] reads the records of a shard, [`tokenize`] makes sequences of them.

pub mod bundled;
mod chat;
mod config;
mod csv;
mod dataset;
mod error;
mod field_mapping;
mod folder;
mod image;
mod image_dataset;
mod image_decoder;
mod inspection;
mod json;
mod label_heatmap;
mod left_out;
mod name_interner;
mod panic_guard;
mod parquet;
pub mod partition;
mod record;
mod record_index;
mod record_reader;
#[cfg(test)]
mod reference_tests;
mod sequence;
mod template;
mod text_scanner;
mod text_store;
mod tokenizer;
mod unpacked_file;
mod validate;

pub use self::image::Image;
pub use bundled::bundled_speeches;
pub use chat::Conversation;
pub use config::{Config, Format, Invalid, LongRecords, Source, Task};
pub use dataset::Dataset;
pub use error::DataError;
pub use field_mapping::Content;
pub use inspection::{InspectedClient, Inspection};
pub use left_out::LeftOut;
pub use partition::{Partition, Shard, partition};
pub use record::Record;
pub use sequence::{Goal, Sequence, tokenize};
pub use tokenizer::{PromptForm, TokenStream, Tokenizer};
