//! Sections `model`, `lora` and `client`: the base model, its adapter, and the local training of a client.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::adapter::peft::{Patterns, Targets};
use crate::roster::Tier;

/// Section `model`: the frozen base model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// Hugging Face folder with config.json, tokenizer.json and model.safetensors or its shards; or a GGUF file (llama, mistral,
    /// qwen2, qwen3; F32, F16, BF16, Q8_0, Q4_0 to Q5_1, Q2_K to Q6_K), with its tokenizer; or, where there is no such folder or
    /// file, org/name or hf://org/name@revision of the hub (cache: HF_HOME). Unset takes the bundled stories260k.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Device for training: auto (the first CUDA GPU, else the CPU), cpu, or cuda:N; gpu and cuda are cuda:0.
    pub device: String,
    /// Type of weights and arithmetic in memory: f32, or on a GPU bf16, in which norms, softmaxes and losses are still
    /// computed in f32 and adapters and their optimizer are kept in f32. Files may hold f32, f16 or bf16.
    pub dtype: Dtype,
    /// Type in memory of the frozen linear layers of the blocks: none (as dtype says), or int8, a quarter of that, made
    /// f32 again for each use (as QLoRA does with four bits); or keep, on the CPU the blocks of a GGUF file, which stay in the file.
    /// Adapters, heads, norms and embeddings stay as they are.
    pub quantize: Quantize,
    /// Clients that train side by side on the device, all on one copy of the model; 0 takes `run.threads` on the CPU and 1
    /// on a GPU, where more fill the gaps between one client's steps but each needs the memory of its own step.
    pub slots: usize,
}

/// The type in memory of the frozen linear layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quantize {
    /// As `model.dtype` says.
    None,
    /// 8-bit whole numbers, with a scale for at most 64 of them.
    Int8,
    /// The blocks of the GGUF file, which stay in it.
    Keep,
}

/// The type of weights and arithmetic in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// f32, IEEE single precision.
    #[serde(alias = "float32", alias = "fp32")]
    F32,
    /// bf16, its upper half: eight bits of exponent, seven of fraction.
    #[serde(alias = "bfloat16")]
    Bf16,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self { path: None, device: "auto".into(), dtype: Dtype::F32, quantize: Quantize::None, slots: 0 }
    }
}

/// Section `lora`: the trained adapter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoraConfig {
    /// Rank of every pair A, B that `rank_pattern` does not name.
    pub rank: usize,
    /// Numerator of the scale of every pair that `alpha_pattern` does not name: the product B A is multiplied by alpha / rank.
    pub alpha: f32,
    /// Ranks of some targets: a table from the end of a layer's path, a name or a regular expression, to a rank.
    pub rank_pattern: Patterns<usize>,
    /// Numerators of the scales of some targets, as a table like rank_pattern.
    pub alpha_pattern: Patterns<f32>,
    /// Multiply by alpha / sqrt(rank) in place of alpha / rank (rsLoRA).
    pub rslora: bool,
    /// Share of a pair's inputs set to zero in training, in [0, 1).
    pub dropout: f32,
    /// Linear layers that get a pair, in every block: all-linear, a list of names (of a Llama q_proj, k_proj, v_proj, o_proj,
    /// gate_proj, up_proj, down_proj, of a GPT-2 c_attn, c_proj, c_fc, of a ViT query, key, value, dense), or one regular
    /// expression for the whole path, as PEFT's target_modules. Heads and embeddings are never among them.
    pub targets: Targets,
    /// Give every target a residual beside its pair, which only the server changes and which the layer adds to its frozen
    /// weight: what the exact aggregations fedex-lora and flora need. Costs a value for every weight of the targets.
    pub residual: bool,
    /// PEFT folder to start from in place of the seeded start. Every participant reads it, as it reads the model: what a policy
    /// leaves out falls back to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<PathBuf>,
    /// Start of a head for classes: own (that of init, else that of the model, where one of them has one; the data's
    /// labels have to be among its classes), or zero.
    pub head: HeadStart,
}

/// The start of a head for classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HeadStart {
    /// The head of the adapter or the checkpoint; zero where neither has one.
    Own,
    /// Zero.
    Zero,
}

impl Default for LoraConfig {
    fn default() -> Self {
        Self {
            rank: 8,
            alpha: 16.0,
            rank_pattern: Patterns::default(),
            alpha_pattern: Patterns::default(),
            rslora: false,
            dropout: 0.0,
            targets: Targets::All,
            residual: false,
            init: None,
            head: HeadStart::Own,
        }
    }
}

/// The trainer of a client's local work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrainerKind {
    /// Real training on Burn.
    Burn,
    /// A seeded pseudo-random delta without model and data, to measure everything but training.
    Noop,
}

/// The local optimizer. Its state is fresh in every round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerKind {
    /// SGD with momentum; weight decay is added to the gradient.
    Sgd,
    /// Adam (Kingma and Ba 2015), beta 0.9 and 0.999; weight decay is added to the gradient.
    Adam,
    /// Adam with decoupled weight decay (Loshchilov and Hutter 2019).
    Adamw,
}

/// The course of the learning rate after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LrSchedule {
    /// The same rate in every round.
    Constant,
    /// In equal steps down to the floor.
    Linear,
    /// Along half a period of a cosine down to the floor (Loshchilov and Hutter 2017, without restarts).
    Cosine,
}

/// Section `client`: the local training of a sampled client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LocalConfig {
    /// burn trains; noop makes a delta up, to size a deployment.
    pub trainer: TrainerKind,
    /// Local optimizer: sgd, adam or adamw.
    pub optimizer: OptimizerKind,
    /// Local learning rate; with a schedule or a warm-up the highest one.
    pub lr: f64,
    /// Learning rate by round: constant, linear or cosine. With w warm-up rounds of R in all and t = (r - w) / (R - w), round r
    /// (from 1) trains at lr_floor + (lr - lr_floor) (1 - t), or with cosine at
    /// lr_floor + (lr - lr_floor) (1 + cos(pi t)) / 2. R is `run.rounds`.
    pub lr_schedule: LrSchedule,
    /// Rate that linear and cosine reach in the last round. With 0 that round changes nothing.
    pub lr_floor: f64,
    /// Rounds in which the rate rises to lr: round r of w trains at lr r / w, whatever the schedule is.
    pub warmup_rounds: u32,
    /// Momentum of sgd.
    pub momentum: f32,
    /// Weight decay: of the gradient in sgd and adam, decoupled in adamw.
    pub weight_decay: f32,
    /// Passes over the shard where `steps` is 0.
    pub epochs: u32,
    /// Exactly so many steps, going round the shard as often as it takes; 0 key_use `epochs` passes.
    pub steps: u32,
    /// Sequences a step.
    pub batch: usize,
    /// Scale the gradient down to this L2 norm where it is above it; 0 never does.
    pub max_grad_norm: f32,
    /// Keep only the inputs of the model's blocks between the two passes of a step and compute the rest again: less memory
    /// for about a third more work. Changes no bit of the result.
    pub gradient_checkpointing: bool,
    /// Classes of clients, each with the share of the clients that it has (all add up to 1), the density of both directions
    /// (unset keeps theirs) and the rank that it trains (0 is the whole), as `[[client.tiers]]` with share, density and
    /// rank. Without any, all clients are alike.
    pub tiers: Vec<Tier>,
}

impl Default for LocalConfig {
    fn default() -> Self {
        Self {
            trainer: TrainerKind::Burn,
            optimizer: OptimizerKind::Adam,
            lr: 5e-3,
            lr_schedule: LrSchedule::Constant,
            lr_floor: 0.0,
            warmup_rounds: 0,
            momentum: 0.9,
            weight_decay: 0.0,
            epochs: 1,
            steps: 8,
            batch: 4,
            max_grad_norm: 1.0,
            gradient_checkpointing: false,
            tiers: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_are_refused_and_missing_ones_take_defaults() {
        let config: LocalConfig = toml::from_str("optimizer = \"sgd\"\nlr = 0.5").unwrap();
        assert_eq!((config.optimizer, config.lr, config.batch), (OptimizerKind::Sgd, 0.5, 4));
        assert!(toml::from_str::<LocalConfig>("learning_rate = 0.5").is_err());
        assert!(toml::from_str::<LoraConfig>("r = 4").is_err());
    }
}
