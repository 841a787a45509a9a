//! The trainer: a frozen Llama shared by all clients, LoRA pairs on top of it, local training and evaluation.
//! Adapter values and token sequences go in, deltas and losses come out. The only room that names `burn`.

mod batch;
mod block;
mod checkpoint;
mod config;
mod dropout;
mod error;
mod kernel;
mod llama;
mod local;
mod lora;
mod model;
mod noop;
mod optimizer;
mod pool;
mod projection;
mod trainable;

pub use config::{Dtype, LocalConfig, LoraConfig, ModelConfig, OptimizerKind, TrainerKind};
pub use error::TrainerError;
pub use local::{Evaluated, TrainKey, Trained, Trainer};
pub use model::Model;
pub use noop::noop_train;
pub use pool::{Shards, Trainers};

#[cfg(test)]
mod tests;
