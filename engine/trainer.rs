//! The trainer: a frozen transformer shared by all clients, LoRA pairs on top of it, local training and evaluation.
//! Adapter values and token sequences go in, deltas and losses come out. The only room that names `burn`.

mod adapter_targets;
mod batch;
mod block;
mod class_order;
mod client_data;
mod config;
mod device;
mod dropout;
mod embedding;
mod error;
mod evaluation_sample;
mod family;
mod fingerprint;
mod generation;
mod gguf;
mod gguf_export;
mod head;
#[cfg(feature = "hub")]
mod hub;
mod hub_name;
mod image_processor;
mod kept_weight;
mod kernel;
mod local_training;
mod lora;
mod lr_schedule;
mod merge;
mod model;
mod model_path;
mod noop_trainer;
mod optimizer;
mod pool;
mod pooler;
mod projection;
mod stored_head;
mod team;
mod trainable;
mod transformer;
mod values;
mod weights;

pub use client_data::{ClientData, EVALUATION_CHUNK};
pub use config::{
    Dtype, HeadStart, LocalConfig, LoraConfig, LrSchedule, ModelConfig, OptimizerKind, Quantize, TrainerKind,
};
pub use error::TrainerError;
pub use evaluation_sample::evaluation_sample;
pub use generation::{Ended, Generated, Generation};
pub use hub_name::Download;
pub use local_training::{Evaluated, TrainKey, Trained, Trainer};
pub use lr_schedule::LearningRates;
pub use model::{Model, positions, tokenizer};
pub use noop_trainer::noop_train;
pub use pool::{OnEvaluated, Trainers};

#[cfg(test)]
mod tests;
