//! Where text comes from: files or the bundled speeches in; records, client shards and token sequences out.

mod config;
mod dataset;
mod error;
pub mod partition;
mod template;
mod tokenize;

pub use config::{Config, Format, LongRecords, Source};
pub use dataset::Record;
pub use error::DataError;
pub use tokenize::{Sequence, Tokenizer, tokenize};
