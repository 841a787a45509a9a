//! The trainer: a frozen Llama shared by all clients, LoRA pairs on top of it, local training and evaluation.
//! The only room that names `burn`.

mod config;

pub use config::{Dtype, LocalConfig, LoraConfig, ModelConfig, OptimizerKind, TrainerKind};
