//! adapter_config.json: what it says in, a checked [`PeftConfig`] out, and the other way round.

use std::path::Path;

use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::targets::{Patterns, Targets};
use super::{CONFIG, PeftError, RESIDUAL, load};

/// The settings of adapter_config.json, without those that never change here.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct PeftConfig {
    /// Folder or hub name of the base model.
    #[serde(rename = "base_model_name_or_path", default)]
    pub base_model: Option<String>,
    /// The model's task, such as CAUSAL_LM or SEQ_CLS; unset where PEFT has no word for it.
    #[serde(rename = "task_type", default)]
    pub task: Option<String>,
    /// Rank of every pair that `rank_pattern` does not name.
    #[serde(rename = "r", default = "eight")]
    pub rank: usize,
    /// Numerator of the scale of every pair that `alpha_pattern` does not name.
    #[serde(rename = "lora_alpha", default = "eight")]
    pub alpha: f32,
    /// Ranks of layers, by name or regular expression.
    #[serde(default, deserialize_with = "nullable")]
    pub rank_pattern: Patterns<usize>,
    /// Numerators of the scales of layers, by name or regular expression.
    #[serde(default, deserialize_with = "nullable")]
    pub alpha_pattern: Patterns<f32>,
    /// True where the scale is alpha / sqrt(r) in place of alpha / r (rsLoRA, Kalajdzievski 2023).
    #[serde(rename = "use_rslora", default, deserialize_with = "nullable")]
    pub rslora: bool,
    /// Dropout in training.
    #[serde(rename = "lora_dropout", default)]
    pub dropout: f32,
    /// The trained linear layers.
    #[serde(rename = "target_modules")]
    pub targets: Targets,
    /// Modules that get no pair, whatever `targets` say.
    #[serde(rename = "exclude_modules", default = "no_names", deserialize_with = "names")]
    pub excluded: Targets,
    /// The numbers of the blocks that have pairs; all, where there are none.
    #[serde(rename = "layers_to_transform", default, deserialize_with = "one_or_more")]
    pub layers: Vec<usize>,
    /// Names of the list of the blocks, where `layers` are given; any name, where there are none.
    #[serde(default, deserialize_with = "one_or_more")]
    pub layers_pattern: Vec<String>,
    /// True where the base model holds the weights of the trained layers as `[inputs, outputs]`, as GPT-2 does. It
    /// changes nothing in the adapter's tensors.
    #[serde(default, deserialize_with = "nullable")]
    pub fan_in_fan_out: bool,
    /// Modules that are trained whole, the heads: `score`, `classifier`.
    #[serde(rename = "modules_to_save", default, deserialize_with = "nullable")]
    pub heads: Vec<String>,
    /// True where residuals lie beside it. PEFT warns that it does not know the key, and gives other numbers without
    /// them.
    #[serde(rename = "cellm_residual", default)]
    pub residual: bool,
    /// The names of the classes of a head, in the order of its rows. PEFT warns that it does not know the key.
    #[serde(rename = "cellm_classes", default)]
    pub classes: Vec<String>,
}

/// PEFT's default of `r` and `lora_alpha`.
fn eight<T: From<u8>>() -> T {
    T::from(8)
}

fn no_names() -> Targets {
    Targets::Names(Vec::new())
}

fn names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Targets, D::Error> {
    let found = Option::deserialize(deserializer)?.unwrap_or_else(no_names);
    // An empty expression is none.
    Ok(if found.is_empty() { no_names() } else { found })
}

/// A list, one thing that stands for a list of it, or nothing.
fn one_or_more<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let list = match Value::deserialize(deserializer)? {
        Value::Null => Vec::new(),
        Value::Array(all) => all,
        Value::String(text) if text.is_empty() => Vec::new(),
        one => vec![one],
    };
    list.into_iter().map(|one| T::deserialize(one).map_err(D::Error::custom)).collect()
}

fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Variants of LoRA that change what the tensors mean, or which there are. Unset, they are `null`, `false` or empty.
const VARIANTS: [&str; 13] = [
    "use_dora",
    "use_qalora",
    "use_bdlora",
    "lora_bias",
    "layer_replication",
    "target_parameters",
    "trainable_token_indices",
    "alora_invocation_tokens",
    "arrow_config",
    "kasa_config",
    "monteclora_config",
    "megatron_config",
    "velora_config",
];

/// Starts that change the base model's weights too, so that the adapter is of another model than it names.
const OTHER_BASES: [&str; 5] = ["pissa", "olora", "loftq", "corda", "lora_ga"];

/// Keys that are read or change nothing in what an adapter is, whatever they say.
const KNOWN: [&str; 35] = [
    "alpha_pattern",
    "auto_mapping",
    "base_model_name_or_path",
    "bias",
    "cellm_classes",
    "cellm_residual",
    "corda_config",
    "ensure_weight_tying",
    "eva_config",
    "exclude_modules",
    "fan_in_fan_out",
    "inference_mode",
    "init_lora_weights",
    "layers_pattern",
    "layers_to_transform",
    "loftq_config",
    "lora_alpha",
    "lora_dropout",
    "lora_ga_config",
    "megatron_core",
    "modules_to_save",
    "peft_type",
    "peft_version",
    "qalora_group_size",
    "r",
    "rank_pattern",
    "revision",
    "runtime_config",
    "target_modules",
    "task_type",
    "use_rslora",
    // Of releases before 0.6.
    "enable_lora",
    "merge_weights",
    "num_attention_heads",
    "num_layers",
];

/// Reads adapter_config.json alone, for example to lay an adapter out as a folder has it.
///
/// # Errors
/// [`PeftError::Io`] and [`PeftError::Config`], the latter naming the key that asks for what is not here.
pub fn read_config(dir: &Path) -> Result<PeftConfig, PeftError> {
    let path = dir.join(CONFIG);
    let bytes = load(&path)?;
    let failed = |reason: String| PeftError::Config { path: path.clone(), reason };
    let json: Value = serde_json::from_slice(&bytes).map_err(|error| failed(error.to_string()))?;
    check(&json).map_err(failed)?;
    // From the bytes, for the order of patterns counts.
    let config: PeftConfig = serde_json::from_slice(&bytes).map_err(|error| failed(error.to_string()))?;
    if !config.residual && dir.join(RESIDUAL).exists() {
        return Err(failed(format!("cellm_residual is not true, but {RESIDUAL} lies beside it")));
    }
    Ok(config)
}

/// Refuses what would make another adapter than the engine has, by the name of the key.
fn check(json: &Value) -> Result<(), String> {
    for (key, supported) in [("peft_type", "LORA"), ("bias", "none")] {
        if let Some(found) = json.get(key).filter(|found| **found != supported) {
            return Err(format!("{key} is {found}, but only \"{supported}\" is supported"));
        }
    }
    let set = |key: &str| json.get(key).filter(|found| !is_unset(found));
    for key in VARIANTS {
        if let Some(found) = set(key) {
            return Err(format!("{key} is {found}, which is not supported"));
        }
    }
    let start = json.get("init_lora_weights").and_then(Value::as_str).unwrap_or_default();
    if OTHER_BASES.iter().any(|other| start.starts_with(other)) {
        return Err(format!("init_lora_weights is \"{start}\", which changes the base model's weights"));
    }
    for key in ["r", "lora_alpha"] {
        let fits =
            |found: &Value| if key == "r" { found.as_u64().is_some_and(|rank| rank > 0) } else { found.is_number() };
        if let Some(found) = json.get(key).filter(|found| !fits(found)) {
            let supported = if key == "r" { "a whole number above 0" } else { "a number" };
            return Err(format!("{key} is {found}, but only {supported} is supported"));
        }
    }
    let ranks = json.get("rank_pattern").and_then(Value::as_object).into_iter().flatten();
    if let Some((name, found)) = ranks.into_iter().find(|(_, rank)| rank.as_u64().is_none_or(|rank| rank == 0)) {
        return Err(format!("rank_pattern of {name} is {found}, but only a whole number above 0 is supported"));
    }
    match json.get("target_modules") {
        None | Some(Value::Null) => {
            return Err("target_modules is missing: PEFT has a list of its own for every model then; name them".into());
        }
        Some(Value::String(_)) => {
            for key in ["layers_to_transform", "layers_pattern"] {
                if let Some(found) = json.get(key).filter(|found| !found.is_null()) {
                    return Err(format!("{key} is {found}, which PEFT refuses where target_modules is one expression"));
                }
            }
        }
        Some(_) => {}
    }
    match (set("layers_pattern"), json.get("layers_to_transform")) {
        (Some(found), None | Some(Value::Null)) => {
            Err(format!("layers_pattern is {found}, which PEFT refuses without layers_to_transform"))
        }
        _ => Ok(()),
    }
}

/// The keys of a config that this engine does not know, and PEFT 0.21 neither: both read over them.
pub(super) fn unknown_keys(dir: &Path) -> Vec<String> {
    let json: Value =
        load(&dir.join(CONFIG)).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
    let keys = json.as_object().into_iter().flatten().filter(|(_, value)| !is_unset(value)).map(|(key, _)| key.clone());
    keys.filter(|key| !KNOWN.contains(&key.as_str()) && !VARIANTS.contains(&key.as_str())).collect()
}

fn is_unset(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(all) => all.is_empty(),
        Value::Object(all) => all.is_empty(),
        _ => false,
    }
}
