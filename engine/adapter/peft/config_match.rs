//! A config beside a layout: the text of adapter_config.json for an adapter of the layout, or whether a folder's config is of it.

use std::path::Path;

use serde_json::{Value, json};

use super::layer_names::in_memory;
use super::rules::{PairRules, PatternError};
use super::targets::Targets;
use super::{CONFIG, PeftConfig, PeftError, README, RESIDUAL, WEIGHTS};
use crate::adapter::{AdapterLayout, Role};

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
        if !heads.is_empty() && !self.classes.is_empty() {
            json["cellm_classes"] = json!(self.classes);
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
                named.rank_pattern.0.push((path.clone(), rank));
            }
            if let Some(alpha) = alpha.filter(|_| known.1.is_none()) {
                named.alpha_pattern.0.push((path, alpha));
            }
        }
        Ok(named)
    }

    /// Checks that every pair of the layout has the rank and the scale that the file gives it, and gives its rules. Pairs
    /// that it does not have are found missing among the tensors.
    pub(super) fn check(&self, path: &Path, layout: &AdapterLayout) -> Result<PairRules, PeftError> {
        let failed = |error: PatternError| PeftError::Config { path: path.into(), reason: error.to_string() };
        let rules = PairRules::new(self).map_err(failed)?;
        for spec in layout.tensors().iter().map(|tensor| &tensor.spec).filter(|spec| spec.role == Role::LoraA) {
            let layer = spec.layer();
            let mismatch = |key: &str, found: String, expected: String| {
                Err(PeftError::Mismatch { path: path.into(), key: format!("{key} of {layer}"), found, expected })
            };
            // What no target names may still be there under another name: it is found missing among the tensors.
            let Some(rule) = rules.pair(layer).map_err(failed)? else {
                if rules.limits() {
                    return mismatch("the pair", "left out by its rules".into(), "one".into());
                }
                continue;
            };
            if rule.rank != spec.rank {
                return mismatch("r", rule.rank.to_string(), spec.rank.to_string());
            }
            if rule.scale != spec.scale {
                return mismatch("the scale", rule.scale.to_string(), spec.scale.to_string());
            }
        }
        Ok(rules)
    }
}

/// The name of a layer in its block, without where it lies. `dense` is the name of a BERT's pooler too, so that the part
/// before it belongs to the name.
fn last_part(path: &str) -> &str {
    let parts = if path.ends_with(".dense") { 2 } else { 1 };
    path.rmatch_indices('.').nth(parts - 1).map_or(path, |(at, _)| &path[at + 1..])
}

/// The heads of a layout, as `modules_to_save` names them: PEFT saves a head of several layers as one module.
fn heads(layout: &AdapterLayout) -> Vec<String> {
    let heads = layout.tensors().iter().filter(|tensor| tensor.spec.role == Role::Head);
    once(heads.map(|tensor| tensor.spec.layer().split('.').next().unwrap_or_default()))
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
