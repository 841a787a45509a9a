//! Model families: config.json in; a [`Spec`] out, which says what the engine computes and what checkpoints call its tensors.
//! A family is one file that makes a spec, and one line in [`FAMILIES`].

mod gpt2;
mod llama;
mod mistral;
mod qwen;
mod rope;
mod vit;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::TrainerError;
use super::kernel::{Activation, Heads, NormKind, Sight};

/// Makes a spec of a config.json.
type Reader = fn(&Settings) -> Result<Spec, TrainerError>;

/// What `model_type` says, how the names of its classes in `transformers` begin, and who reads it.
const FAMILIES: [(&str, &str, Reader); 6] = [
    ("gpt2", "GPT2", gpt2::read),
    ("llama", "Llama", llama::read),
    ("mistral", "Mistral", mistral::read),
    ("qwen2", "Qwen2", qwen::read_second),
    ("qwen3", "Qwen3", qwen::read_third),
    ("vit", "ViT", vit::read),
];

/// How the names of a family's classes in `transformers` begin.
pub(super) fn class_name(model_type: &str) -> Option<&'static str> {
    FAMILIES.iter().find(|(name, ..)| *name == model_type).map(|(_, class, _)| *class)
}

/// A transformer of one family and size.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Spec {
    /// What people call the family.
    pub family: &'static str,
    /// Values of a position between blocks.
    pub hidden: usize,
    /// Rows of the token embedding; 0 where a model reads pictures.
    pub vocabulary: usize,
    /// The longest sequence, in positions.
    pub positions: usize,
    /// Heads of the attention.
    pub heads: Heads,
    /// What a block's positions see, by block; as many as there are blocks.
    pub sights: Vec<Sight>,
    /// Turns a position of each pair of a head's values, in radians; all zero where positions are not turned.
    pub frequencies: Vec<f64>,
    /// The kind of every norm.
    pub norm: NormKind,
    /// What the norms add to the mean square before its root.
    pub epsilon: f32,
    /// What lies between the two halves of the feed-forward part.
    pub activation: Activation,
    /// Whether the language head is the token embedding.
    pub tied: bool,
    /// The head for classes.
    pub classifier: Classifier,
    /// What it reads.
    pub input: Input,
    /// What checkpoints call its tensors.
    pub names: Names,
    /// The linear layers of a block, by projection, in the order in which data flows: those that read the normed input,
    /// the attention's output, those that read the normed middle, the output.
    pub linears: [Vec<Linear>; 4],
}

/// What a family reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    /// Token ids.
    Tokens {
        /// What checkpoints call their embedding.
        tokens: &'static str,
        /// What they call that of positions, where these are learned.
        positions: Option<&'static str>,
    },
    /// Pictures, cut into patches.
    Patches(Patches),
}

/// How a picture is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Patches {
    /// Colours of a pixel.
    pub channels: usize,
    /// Height and width of a picture, in pixels.
    pub size: [usize; 2],
    /// Height and width of a patch; each divides that of the picture.
    pub patch: [usize; 2],
}

impl Patches {
    /// Values of a patch.
    pub fn values(self) -> usize {
        self.channels * self.patch[0] * self.patch[1]
    }
}

/// What checkpoints of a family call the parts.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Names {
    /// The module of everything but the heads. Checkpoints of the base model alone leave it out.
    pub base: &'static str,
    /// The list of the blocks.
    pub blocks: &'static str,
    /// The two norms of a block.
    pub norms: [&'static str; 2],
    /// The norms of each head's queries and keys, where a block has these.
    pub head_norms: Option<[&'static str; 2]>,
    /// The norm after the last block.
    pub last_norm: &'static str,
}

/// A linear layer that makes classes of a hidden state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Classifier {
    /// What `transformers` calls it.
    pub name: &'static str,
    /// Whether it has a bias.
    pub bias: bool,
}

/// The one of every language model.
const SCORE: Classifier = Classifier { name: "score", bias: false };

/// A linear layer of a block.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Linear {
    /// Its path in the block, such as `self_attn.q_proj`.
    pub path: &'static str,
    /// Values that it gives.
    pub outputs: usize,
    /// Values that it reads.
    pub inputs: usize,
    /// Whether it has a bias.
    pub bias: bool,
    /// Whether checkpoints hold its weight as `[inputs, outputs]`.
    pub transposed: bool,
}

impl Linear {
    /// What `lora.targets` calls it: the last part of its path.
    pub fn target(&self) -> &'static str {
        self.path.rsplit('.').next().unwrap_or(self.path)
    }
}

impl Spec {
    /// Reads and checks config.json; `file` is what errors call it.
    pub fn read(json: &[u8], file: &str) -> Result<Self, TrainerError> {
        let settings = Settings { json, file };
        let Kind { model_type } = settings.parse()?;
        match FAMILIES.iter().find(|(name, ..)| *name == model_type) {
            Some((.., read)) => read(&settings),
            None => Err(TrainerError::Family {
                file: file.into(),
                found: model_type,
                supported: FAMILIES.map(|(name, ..)| name).join(", "),
            }),
        }
    }

    /// Whether it reads pictures in place of tokens.
    pub fn reads_pictures(&self) -> bool {
        matches!(self.input, Input::Patches(_))
    }

    /// How many blocks there are.
    pub fn blocks(&self) -> usize {
        self.sights.len()
    }

    /// The whole path of a part of a block, such as `model.layers.0.self_attn.q_proj`.
    pub fn path(&self, block: usize, part: &str) -> String {
        let Names { base, blocks, .. } = self.names;
        format!("{base}.{blocks}.{block}.{part}")
    }

    /// The whole path of a part of the base model.
    pub fn base(&self, part: &str) -> String {
        format!("{}.{part}", self.names.base)
    }

    /// What `lora.targets` may name, in the order in which data flows.
    pub fn targets(&self) -> Vec<&'static str> {
        let mut targets: Vec<&str> = Vec::new();
        for linear in self.linears.iter().flatten() {
            if !targets.contains(&linear.target()) {
                targets.push(linear.target());
            }
        }
        targets
    }
}

/// The key that tells the family.
#[derive(Deserialize)]
struct Kind {
    model_type: String,
}

/// A config.json and what errors call it.
struct Settings<'a> {
    json: &'a [u8],
    file: &'a str,
}

impl Settings<'_> {
    /// The keys that a family reads.
    fn parse<T: DeserializeOwned>(&self) -> Result<T, TrainerError> {
        serde_json::from_slice(self.json)
            .map_err(|error| TrainerError::Config { file: self.file.into(), reason: error.to_string() })
    }

    /// An error that names the key and both values, unless all is `fine`.
    fn check(&self, fine: bool, key: &'static str, found: impl ToString, supported: &str) -> Result<(), TrainerError> {
        match fine {
            true => Ok(()),
            false => Err(TrainerError::Unsupported {
                file: self.file.into(),
                key,
                found: found.to_string(),
                supported: supported.into(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_that_is_not_there_is_refused_with_those_that_are() {
        let error = Spec::read(br#"{"model_type": "bert", "hidden_size": 32}"#, "config.json").unwrap_err();
        assert_eq!(
            error.to_string(),
            "model config config.json: the architecture bert is not supported; gpt2, llama, mistral, qwen2, qwen3, vit are"
        );
        let error = Spec::read(b"{}", "config.json").unwrap_err().to_string();
        assert!(error.contains("missing field `model_type`"), "{error}");
    }
}
