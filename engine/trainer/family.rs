//! Model families: config.json in; a [`Spec`] out, which says what the engine computes and what checkpoints call its tensors.
//! A family is one file that makes a spec and says what each key of its configuration class means, and one line in
//! [`FAMILIES`].

mod gpt2;
mod keys;
mod labels;
mod llama;
mod mistral;
mod qwen;
mod rope;
mod settings;
mod vit;

use super::TrainerError;
use super::kernel::{Activation, Heads, NormKind, Sight, Turns};
pub(super) use keys::Means;
pub(super) use labels::Labels;
use settings::Settings;

/// Makes a spec of a config.json.
type Reader = fn(&Settings) -> Result<Spec, TrainerError>;

/// A family.
struct Family {
    /// What `model_type` says.
    name: &'static str,
    /// How the names of its classes in `transformers` begin.
    class: &'static str,
    read: Reader,
    /// What the keys of its configuration class mean, beside those that every class has.
    keys: &'static [&'static [(&'static str, Means)]],
}

const FAMILIES: [Family; 6] = [
    Family { name: "gpt2", class: "GPT2", read: gpt2::read, keys: &[gpt2::KEYS] },
    Family { name: "llama", class: "Llama", read: llama::read, keys: &[llama::SHARED_KEYS, llama::KEYS] },
    Family { name: "mistral", class: "Mistral", read: mistral::read, keys: &[llama::SHARED_KEYS, mistral::KEYS] },
    Family { name: "qwen2", class: "Qwen2", read: qwen::read_second, keys: &[llama::SHARED_KEYS, qwen::KEYS] },
    Family {
        name: "qwen3",
        class: "Qwen3",
        read: qwen::read_third,
        keys: &[llama::SHARED_KEYS, qwen::KEYS, qwen::KEYS_OF_THIRD],
    },
    Family { name: "vit", class: "ViT", read: vit::read, keys: &[vit::KEYS] },
];

/// How the names of a family's classes in `transformers` begin.
pub(super) fn class_name(model_type: &str) -> Option<&'static str> {
    FAMILIES.iter().find(|family| family.name == model_type).map(|family| family.class)
}

/// What a key of a family's configuration class means; `None` where it has no such key.
#[cfg(test)]
pub(super) fn means(model_type: &str, key: &str) -> Option<Means> {
    let family = FAMILIES.iter().find(|family| family.name == model_type)?;
    let all = keys::EVERY_CLASS.iter().chain(family.keys.iter().copied().flatten());
    all.copied().find(|(known, _)| *known == key).map(|(_, means)| means)
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
    /// What the scores of a block's attention are multiplied by, by block; as many as there are blocks.
    pub scales: Vec<f32>,
    /// How positions turn the values of a head.
    pub turns: Turns,
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
    /// What config.json says of the classes.
    pub labels: Labels,
    /// The token that fills up short sequences: a class is read at the last token that is another.
    pub padding: Option<u32>,
    /// What config.json asks for and is left out, for people.
    pub left_out: Vec<String>,
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

/// The kind of activation that a key names.
fn gelu(settings: &Settings, key: &str, default: &str) -> Result<Activation, TrainerError> {
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
        let settings = Settings::new(json, file)?;
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

    /// The paths of what makes hidden states of the input: no linear layers, so they cannot have pairs.
    pub fn embeddings(&self) -> Vec<String> {
        match self.input {
            Input::Tokens { tokens, positions } => {
                [Some(tokens), positions].into_iter().flatten().map(|part| self.base(part)).collect()
            }
            Input::Patches(_) => vec![self.base("embeddings.patch_embeddings.projection")],
        }
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
        assert!(error.contains("model_type is missing; gpt2, llama"), "{error}");
        let error = Spec::read(b"", "config.json").unwrap_err().to_string();
        assert_eq!(error, "model config config.json: it is empty");
    }
}
