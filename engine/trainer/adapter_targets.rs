//! PEFT's targets for one model: the adapter_config.json of an adapter folder in; the same out with the paths of the
//! layers that have pairs.

use super::TrainerError;
use super::family::Spec;
use super::lora::{LANGUAGE_HEAD_MODULE, paths};
use crate::adapter::peft::{PairRules, Patterns, PeftConfig, Targets};

/// The settings of an adapter folder with the paths of this model's layers as targets.
pub(super) fn resolve_targets(spec: &Spec, adapter: PeftConfig) -> Result<PeftConfig, TrainerError> {
    let rules = PairRules::new(&adapter)?;
    check_targets_of_file(spec, &adapter, &rules)?;
    let mut chosen = Vec::new();
    for (path, _) in paths(spec) {
        if rules.chooses(&path)? {
            chosen.push(path);
        }
    }
    if chosen.is_empty() {
        let (target, known) = (format!("target_modules {}", adapter.targets), spec.targets().join(", "));
        return Err(TrainerError::UnknownTarget { target, known });
    }
    let (mut ranks, mut alphas) = (adapter.rank_pattern.clone(), adapter.alpha_pattern.clone());
    ranks.0 = matching_patterns(&adapter, &chosen, ranks.0, |config, patterns| config.rank_pattern.0 = patterns)?;
    alphas.0 = matching_patterns(&adapter, &chosen, alphas.0, |config, patterns| config.alpha_pattern.0 = patterns)?;
    Ok(PeftConfig {
        targets: Targets::Names(chosen),
        excluded: Targets::Names(Vec::new()),
        layers: Vec::new(),
        layers_pattern: Vec::new(),
        rank_pattern: ranks,
        alpha_pattern: alphas,
        ..adapter
    })
}

fn check_targets_of_file(spec: &Spec, adapter: &PeftConfig, rules: &PairRules) -> Result<(), TrainerError> {
    let head = if adapter.task.as_deref() == Some("SEQ_CLS") { spec.classifier.name } else { LANGUAGE_HEAD_MODULE };
    let heads = [head, spec.classifier.name].into_iter().chain(spec.classifier.frozen_pooler()).map(String::from);
    for path in spec.embeddings().into_iter().chain(heads) {
        if !rules.take_all() && rules.chooses(&path)? {
            let of = format!("the adapter's target_modules ({})", adapter.targets);
            return Err(TrainerError::NoPair { of, path, known: spec.targets().join(", ") });
        }
    }
    Ok(())
}

/// The patterns that match one of these layers.
fn matching_patterns<T: Clone>(
    adapter: &PeftConfig,
    paths: &[String],
    patterns: Vec<(String, T)>,
    put: impl Fn(&mut PeftConfig, Vec<(String, T)>),
) -> Result<Vec<(String, T)>, TrainerError> {
    let mut used = Vec::new();
    for pattern in patterns {
        let bare = PeftConfig {
            targets: Targets::All,
            rank_pattern: Patterns::default(),
            alpha_pattern: Patterns::default(),
            ..adapter.clone()
        };
        let mut alone = bare;
        put(&mut alone, vec![pattern.clone()]);
        if PairRules::new(&alone)?.idle(paths)?.is_none() {
            used.push(pattern);
        }
    }
    Ok(used)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundled() -> Spec {
        Spec::read(include_bytes!("bundled/stories260k/config.json"), "config.json").unwrap()
    }

    #[test]
    fn what_a_folder_names_becomes_the_paths_of_the_models_layers() {
        let read = |json: serde_json::Value| {
            let config: PeftConfig = serde_json::from_str(&json.to_string()).unwrap();
            resolve_targets(&bundled(), config).map_err(|error| error.to_string())
        };
        let found = read(serde_json::json!({
            "target_modules": ["q_proj", "query"], "exclude_modules": ["layers.1.self_attn.q_proj"],
            "layers_to_transform": [0, 1, 3], "rank_pattern": { "key": 3, "q_proj": 2 },
        }));
        let found = found.unwrap();
        let paths = [0, 3].map(|block| format!("model.layers.{block}.self_attn.q_proj"));
        assert_eq!(found.targets, Targets::Names(paths.to_vec()));
        assert_eq!(found.rank_pattern.0, [("q_proj".to_string(), 2)]);
        let error = read(serde_json::json!({ "target_modules": ["q_proj", "embed_tokens"] })).unwrap_err();
        assert!(
            error.contains("target_modules (q_proj, embed_tokens) names model.embed_tokens, which cannot"),
            "{error}"
        );
        let error = read(serde_json::json!({ "target_modules": ["c_attn"] })).unwrap_err();
        assert!(error.contains("names target_modules c_attn, but the model's linear layers are"), "{error}");
    }
}
