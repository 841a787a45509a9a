//! adapter_config.json: what it says in, a checked [`PeftConfig`] out, and the other way round.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::renamed::in_memory;
use super::rules::{PairRules, PatternError, Targets};
use super::{CONFIG, PeftError, README, RESIDUAL, WEIGHTS, load};
use crate::adapter::{AdapterLayout, Role};

/// What adapter_config.json says beside what never changes here.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct PeftConfig {
    /// Folder or hub name of the base model.
    #[serde(rename = "base_model_name_or_path", default)]
    pub base_model: Option<String>,
    /// What the model is for, such as CAUSAL_LM or SEQ_CLS; unset where PEFT has no word for it.
    #[serde(rename = "task_type", default)]
    pub task: Option<String>,
    /// Rank of every pair that `rank_pattern` does not name.
    #[serde(rename = "r")]
    pub rank: usize,
    /// Numerator of the scale of every pair that `alpha_pattern` does not name.
    #[serde(rename = "lora_alpha")]
    pub alpha: f32,
    /// Ranks of layers, by name or regular expression.
    #[serde(default, deserialize_with = "nullable")]
    pub rank_pattern: BTreeMap<String, usize>,
    /// Numerators of the scales of layers, by name or regular expression.
    #[serde(default, deserialize_with = "nullable")]
    pub alpha_pattern: BTreeMap<String, f32>,
    /// Whether the scale is alpha / sqrt(r) in place of alpha / r (rsLoRA, Kalajdzievski 2023).
    #[serde(rename = "use_rslora", default, deserialize_with = "nullable")]
    pub rslora: bool,
    /// Dropout in training.
    #[serde(rename = "lora_dropout", default)]
    pub dropout: f32,
    /// The trained linear layers.
    #[serde(rename = "target_modules")]
    pub targets: Targets,
    /// Whether the base model holds the weights of the trained layers as `[inputs, outputs]`, as GPT-2 does. It changes
    /// nothing in the adapter's tensors.
    #[serde(default, deserialize_with = "nullable")]
    pub fan_in_fan_out: bool,
    /// Modules that are trained whole, the heads: `score`, `classifier`.
    #[serde(rename = "modules_to_save", default, deserialize_with = "nullable")]
    pub heads: Vec<String>,
    /// Whether residuals lie beside it. PEFT warns that it does not know the key, and gives other numbers without them.
    #[serde(rename = "cellm_residual", default)]
    pub residual: bool,
}

fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Variants of LoRA that change what the tensors mean, or which there are. Unset, they are `null`, `false` or empty.
const VARIANTS: [&str; 15] = [
    "use_dora",
    "use_qalora",
    "use_bdlora",
    "lora_bias",
    "exclude_modules",
    "layers_to_transform",
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

/// Reads adapter_config.json alone, for example to lay an adapter out as a folder has it.
///
/// # Errors
/// [`PeftError::Io`] and [`PeftError::Config`], the latter naming the key that asks for what is not here.
pub fn read_config(dir: &Path) -> Result<PeftConfig, PeftError> {
    let path = dir.join(CONFIG);
    let bytes = load(&path)?;
    let failed = |reason: String| PeftError::Config { path: path.clone(), reason };
    let json: Value = serde_json::from_slice(&bytes).map_err(|error| failed(error.to_string()))?;
    for (key, supported) in [("peft_type", "LORA"), ("bias", "none")] {
        if let Some(found) = json.get(key).filter(|found| **found != supported) {
            return Err(failed(format!("{key} is {found}, but only \"{supported}\" is supported")));
        }
    }
    for key in VARIANTS {
        if let Some(found) = json.get(key).filter(|found| !is_unset(found)) {
            return Err(failed(format!("{key} is {found}, which is not supported")));
        }
    }
    let start = json.get("init_lora_weights").and_then(Value::as_str).unwrap_or_default();
    if OTHER_BASES.iter().any(|other| start.starts_with(other)) {
        return Err(failed(format!("init_lora_weights is \"{start}\", which changes the base model's weights")));
    }
    let config = PeftConfig::deserialize(json).map_err(|error| failed(error.to_string()))?;
    if !config.residual && dir.join(RESIDUAL).exists() {
        return Err(failed(format!("cellm_residual is not true, but {RESIDUAL} lies beside it")));
    }
    Ok(config)
}

fn is_unset(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(all) => all.is_empty(),
        Value::Object(all) => all.is_empty(),
        _ => false,
    }
}

impl PeftConfig {
    /// The names of the folder's files; all of them together are the adapter.
    pub fn files(&self) -> &'static [&'static str] {
        if self.residual { &[CONFIG, WEIGHTS, RESIDUAL, README] } else { &[CONFIG, WEIGHTS] }
    }

    /// The file's text for an adapter of this layout, with every key that `peft` needs to load it for inference.
    pub(super) fn json(&self, layout: &AdapterLayout) -> Result<String, PatternError> {
        let (heads, named) = (heads(layout), self.named_in_memory(layout)?);
        let mut json = json!({
            "alpha_pattern": named.alpha_pattern,
            "base_model_name_or_path": self.base_model,
            "bias": "none",
            "fan_in_fan_out": self.fan_in_fan_out,
            "inference_mode": true,
            "init_lora_weights": true,
            "lora_alpha": self.alpha,
            "lora_dropout": self.dropout,
            "modules_to_save": if heads.is_empty() { Value::Null } else { json!(heads) },
            "peft_type": "LORA",
            "r": self.rank,
            "rank_pattern": named.rank_pattern,
            "target_modules": named.targets,
            "task_type": self.task,
            "use_dora": false,
            "use_rslora": self.rslora,
        });
        if layout.has_residual() {
            json["cellm_residual"] = true.into();
        }
        Ok(format!("{json:#}\n"))
    }

    /// The settings by the names that layers have in memory, by which PEFT looks for them.
    fn named_in_memory(&self, layout: &AdapterLayout) -> Result<Self, PatternError> {
        let pairs = layout.tensors().iter().filter(|tensor| tensor.spec.role == Role::LoraA);
        let layers: Vec<&str> = pairs.map(|tensor| tensor.spec.layer()).collect();
        let renamed: Vec<(&str, String)> =
            layers.iter().filter_map(|layer| Some((*layer, in_memory(layer)?))).collect();
        let mut named = self.clone();
        if renamed.is_empty() {
            // What "all" is depends on the version of PEFT and on what it loads the model as; names do not.
            if self.targets == Targets::All {
                named.targets = Targets::Names(once(layers.iter().map(|layer| last_part(layer))));
            }
            return Ok(named);
        }
        let everywhere = match &self.targets {
            Targets::All => true,
            Targets::Names(names) => !names.iter().any(|name| name.split('.').any(|part| part.parse::<u32>().is_ok())),
            Targets::Pattern(_) => false,
        };
        let targets = renamed.iter().map(|(_, path)| if everywhere { last_part(path) } else { path.as_str() });
        named.targets = Targets::Names(once(targets));
        let rules = PairRules::new(self)?;
        for (layer, path) in renamed {
            let ((rank, alpha), known) = (rules.own(layer)?, rules.own(&path)?);
            if let Some(rank) = rank.filter(|_| known.0.is_none()) {
                named.rank_pattern.insert(path.clone(), rank);
            }
            if let Some(alpha) = alpha.filter(|_| known.1.is_none()) {
                named.alpha_pattern.insert(path, alpha);
            }
        }
        Ok(named)
    }

    /// Checks that every pair of the layout has the rank and the scale that the file gives it. Pairs that it does not
    /// have are found missing among the tensors.
    pub(super) fn check(&self, path: &Path, layout: &AdapterLayout) -> Result<(), PeftError> {
        let failed = |error: PatternError| PeftError::Config { path: path.into(), reason: error.to_string() };
        let rules = PairRules::new(self).map_err(failed)?;
        for spec in layout.tensors().iter().map(|tensor| &tensor.spec).filter(|spec| spec.role == Role::LoraA) {
            let layer = spec.layer();
            let Some(rule) = rules.pair(layer).map_err(failed)? else { continue };
            let mismatch = |key: &str, found: String, expected: String| {
                Err(PeftError::Mismatch { path: path.into(), key: format!("{key} of {layer}"), found, expected })
            };
            if rule.rank != spec.rank {
                return mismatch("r", rule.rank.to_string(), spec.rank.to_string());
            }
            if rule.scale != spec.scale {
                return mismatch("the scale", rule.scale.to_string(), spec.scale.to_string());
            }
        }
        Ok(())
    }
}

/// The name of a layer in its block, without where it lies.
fn last_part(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or_default()
}

/// The heads of a layout, as `modules_to_save` names them.
fn heads(layout: &AdapterLayout) -> Vec<String> {
    let heads = layout.tensors().iter().filter(|tensor| tensor.spec.role == Role::Head);
    once(heads.map(|tensor| tensor.spec.layer()))
}

/// Each of them once, in the order in which they come.
fn once<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for name in names {
        if !all.iter().any(|known| known == name) {
            all.push(name.into());
        }
    }
    all
}
