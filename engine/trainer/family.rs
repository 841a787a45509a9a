//! Model families: config.json in; a [`Spec`] out, which describes the computation and the names of the tensors in
//! checkpoints. A family is one file that makes a spec and lists the meaning of each key of its configuration class,
//! and one line in [`FAMILIES`].

mod bert;
mod classifier;
mod config_json;
mod distilbert;
mod gpt2;
mod input;
mod keys;
mod labels;
mod llama;
mod mistral;
mod qwen;
mod roberta;
mod rope;
mod vit;

use super::TrainerError;
use super::kernel::{Activation, AttentionPattern, Heads, NormKind, RopeParameters};
use classifier::SCORE;
pub(super) use classifier::{ClassPosition, Classifier, PoolerLayer};
use config_json::ConfigJson;
pub(super) use input::{Input, Patches, TokenTables};
pub(super) use keys::KeyUse;
pub(super) use labels::Labels;

/// The reader of a family's config.json.
type Reader = fn(&ConfigJson) -> Result<Spec, TrainerError>;

/// A model family.
struct Family {
    /// Its value of `model_type`.
    name: &'static str,
    /// The beginning of the names of its classes in `transformers`.
    class: &'static str,
    read: Reader,
    /// The use of the keys of its configuration class, beside those that every class has.
    keys: &'static [&'static [(&'static str, KeyUse)]],
}

const FAMILIES: [Family; 9] = [
    Family { name: "bert", class: "Bert", read: bert::read, keys: &[bert::SHARED_KEYS, bert::KEYS] },
    Family { name: "distilbert", class: "DistilBert", read: distilbert::read, keys: &[distilbert::KEYS] },
    Family { name: "gpt2", class: "GPT2", read: gpt2::read, keys: &[gpt2::KEYS] },
    Family { name: "llama", class: "Llama", read: llama::read, keys: &[llama::SHARED_KEYS, llama::KEYS] },
    Family { name: "mistral", class: "Mistral", read: mistral::read, keys: &[llama::SHARED_KEYS, mistral::KEYS] },
    Family { name: "qwen2", class: "Qwen2", read: qwen::read_qwen2, keys: &[llama::SHARED_KEYS, qwen::KEYS] },
    Family {
        name: "qwen3",
        class: "Qwen3",
        read: qwen::read_qwen3,
        keys: &[llama::SHARED_KEYS, qwen::KEYS, qwen::QWEN3_KEYS],
    },
    Family { name: "roberta", class: "Roberta", read: roberta::read, keys: &[bert::SHARED_KEYS, roberta::KEYS] },
    Family { name: "vit", class: "ViT", read: vit::read, keys: &[vit::KEYS] },
];

/// The beginning of the names of a family's classes in `transformers`.
pub(super) fn class_name(model_type: &str) -> Option<&'static str> {
    FAMILIES.iter().find(|family| family.name == model_type).map(|family| family.class)
}

/// The use of a key of a family's configuration class; `None` where the class has no such key.
#[cfg(test)]
pub(super) fn key_use(model_type: &str, key: &str) -> Option<KeyUse> {
    let family = FAMILIES.iter().find(|family| family.name == model_type)?;
    keys::in_tables(family.keys).find(|(known, _)| *known == key).map(|(_, key_use)| key_use)
}

/// A transformer of one family and size.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Spec {
    /// The family's name for people.
    pub family: &'static str,
    /// Hidden size: values of a position between blocks.
    pub hidden: usize,
    /// Vocabulary size: rows of the token embedding; 0 for a model that reads images.
    pub vocabulary: usize,
    /// The longest sequence, in positions.
    pub positions: usize,
    /// The attention heads.
    pub heads: Heads,
    /// The attention pattern of each block.
    pub patterns: Vec<AttentionPattern>,
    /// The factor of the attention scores of each block.
    pub scales: Vec<f32>,
    /// The rotary position embedding.
    pub turns: RopeParameters,
    /// The kind of every norm.
    pub norm: NormKind,
    /// The place of a block's norms.
    pub norm_order: NormOrder,
    /// The epsilon of the norms, added to the mean square (or variance) before its root.
    pub epsilon: f32,
    /// The activation of the feed-forward layer.
    pub activation: Activation,
    /// True where the language head is the token embedding.
    pub tied: bool,
    /// The classifier head.
    pub classifier: Classifier,
    /// The class names of config.json.
    pub labels: Labels,
    /// The position that predicts a class.
    pub class_position: ClassPosition,
    /// ConfigJson of config.json that are ignored, such as dropout, as notes for people.
    pub left_out: Vec<String>,
    /// The kind of its input.
    pub input: Input,
    /// The names of its tensors in checkpoints.
    pub names: TensorNames,
    /// The linear layers of a block, grouped by common input, in the order in which data flows: query, key and value;
    /// the attention's output; the first feed-forward layers; the feed-forward output.
    pub linears: [Vec<Linear>; 4],
}

/// The place of the two norms of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NormOrder {
    /// Before attention and before the feed-forward part (pre-norm).
    Pre,
    /// After each of the two sums, `norm(x + attention(x))` (post-norm, as in Vaswani et al. 2017).
    Post,
}

/// The names of a family's modules in checkpoints.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TensorNames {
    /// The module of everything but the heads. Checkpoints of the base model alone leave it out.
    pub base: &'static str,
    /// The list of the blocks.
    pub blocks: &'static str,
    /// The two norms of a block.
    pub norms: [&'static str; 2],
    /// The norms of each head's queries and keys, where a block has these.
    pub head_norms: Option<[&'static str; 2]>,
    /// The norm after the last block; none where the last block ends with one.
    pub last_norm: Option<&'static str>,
}

/// The GELU that a key names.
fn gelu(settings: &ConfigJson, key: &str, default: &str) -> Result<Activation, TrainerError> {
    match settings.word(key, default)? {
        "gelu" | "gelu_python" => Ok(Activation::Gelu),
        "gelu_new" | "gelu_fast" | "gelu_accurate" | "gelu_pytorch_tanh" | "gelu_python_tanh" => {
            Ok(Activation::GeluTanh)
        }
        found => Err(settings.unsupported(key, found, "gelu, gelu_new, gelu_pytorch_tanh or another name of these")),
    }
}

/// A linear layer of a block.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Linear {
    /// Its path in the block, such as `self_attn.q_proj`.
    pub path: &'static str,
    /// Output features.
    pub outputs: usize,
    /// Input features.
    pub inputs: usize,
    /// True where it has a bias.
    pub bias: bool,
    /// True where checkpoints hold its weight as `[inputs, outputs]`.
    pub transposed: bool,
}

impl Linear {
    /// Its name in `lora.targets`: the last part of its path.
    pub fn target(&self) -> &'static str {
        self.path.rsplit('.').next().unwrap_or(self.path)
    }

    /// The last two parts of its path.
    fn last_two_parts(&self) -> &'static str {
        self.path.rmatch_indices('.').nth(1).map_or(self.path, |(at, _)| &self.path[at + 1..])
    }
}

impl Spec {
    /// Reads and checks config.json; `file` is its name in errors.
    pub fn read(json: &[u8], file: &str) -> Result<Self, TrainerError> {
        let settings = ConfigJson::new(json, file)?;
        let found = settings.word("model_type", "")?;
        let Some(family) = FAMILIES.iter().find(|family| family.name == found) else {
            let supported = FAMILIES.map(|family| family.name).join(", ");
            return Err(match found {
                "" => TrainerError::Config {
                    file: file.into(),
                    reason: format!("model_type is missing; {supported} are supported"),
                },
                _ => TrainerError::Family { file: file.into(), found: found.into(), supported },
            });
        };
        settings.check_keys(family.keys)?;
        let spec = (family.read)(&settings)?;
        Ok(Self { left_out: settings.left_out(family.keys), ..spec })
    }

    /// True where it reads images in place of tokens.
    pub fn reads_pictures(&self) -> bool {
        matches!(self.input, Input::Patches(_))
    }

    /// True where each position attends to those behind it too, so that there is no next token to predict.
    pub fn is_encoder(&self) -> bool {
        self.patterns.contains(&AttentionPattern::Full)
    }

    /// Number of blocks.
    pub fn blocks(&self) -> usize {
        self.patterns.len()
    }

    /// The whole path of a module of a block, such as `model.layers.0.self_attn.q_proj`.
    pub fn path(&self, block: usize, part: &str) -> String {
        let TensorNames { base, blocks, .. } = self.names;
        format!("{base}.{blocks}.{block}.{part}")
    }

    /// The whole path of a module of the base model.
    pub fn base(&self, part: &str) -> String {
        format!("{}.{part}", self.names.base)
    }

    /// The paths of the embeddings, which are no linear layers and cannot have pairs.
    pub fn embeddings(&self) -> Vec<String> {
        match self.input {
            Input::Tokens(tables) => {
                let types = tables.types.map(|(name, _)| name);
                [Some(tables.tokens), tables.positions, types]
                    .into_iter()
                    .flatten()
                    .map(|part| self.base(part))
                    .collect()
            }
            Input::Patches(_) => vec![self.base("embeddings.patch_embeddings.projection")],
        }
    }

    /// The names that `lora.targets` may hold, in the order in which data flows.
    pub fn targets(&self) -> Vec<&'static str> {
        let mut targets: Vec<&str> = Vec::new();
        // A name that the frozen pooler ends in too would mean that one.
        let is_pooler =
            |name: &str| self.classifier.frozen_pooler().is_some_and(|path| path.rsplit('.').next() == Some(name));
        for linear in self.linears.iter().flatten() {
            let target = if is_pooler(linear.target()) { linear.last_two_parts() } else { linear.target() };
            if !targets.contains(&target) {
                targets.push(target);
            }
        }
        targets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_that_is_not_there_is_refused_with_those_that_are() {
        let error = Spec::read(br#"{"model_type": "t5", "hidden_size": 32}"#, "config.json").unwrap_err();
        assert_eq!(
            error.to_string(),
            "model config config.json: the architecture t5 is not supported; bert, distilbert, gpt2, llama, mistral, qwen2, \
             qwen3, roberta, vit are"
        );
        let error = Spec::read(b"{}", "config.json").unwrap_err().to_string();
        assert!(error.contains("model_type is missing; bert, distilbert, gpt2, llama"), "{error}");
        let error = Spec::read(b"", "config.json").unwrap_err().to_string();
        assert_eq!(error, "model config config.json: it is empty");
    }
}
