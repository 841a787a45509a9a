//! The trainer: a frozen transformer shared by all clients, LoRA pairs on top of it, local training and evaluation.
//! Adapter values and token sequences go in, deltas and losses come out. The only room that names `burn`.

mod batch;
mod block;
mod classes;
mod config;
mod device;
mod dropout;
mod embedding;
mod error;
mod family;
mod fingerprint;
mod head;
#[cfg(feature = "hub")]
mod hub;
mod hub_name;
mod kernel;
mod local;
mod lora;
mod merge;
mod model;
mod noop;
mod optimizer;
mod picture;
mod pool;
mod projection;
mod resolve;
mod shards;
mod source;
mod trainable;
mod transformer;
mod values;
mod weights;

pub use config::{Dtype, HeadStart, LocalConfig, LoraConfig, ModelConfig, OptimizerKind, Quantize, TrainerKind};
pub use error::TrainerError;
pub use hub_name::Download;
pub use local::{Evaluated, TrainKey, Trained, Trainer};
pub use model::{Model, positions, tokenizer};
pub use noop::noop_train;
pub use pool::Trainers;
pub use shards::{EVALUATION_CHUNK, Shards};

#[cfg(test)]
mod tests;
