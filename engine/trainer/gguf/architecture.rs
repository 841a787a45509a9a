//! The architectures of llama.cpp that are read, and the families that they are here.

use super::metadata::Metadata;

/// An architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Architecture {
    /// Its name in `general.architecture`, which its keys begin with.
    pub name: &'static str,
    /// True where the rows of queries and keys are in the order of rotary pairs that lie side by side.
    pub interleaved: bool,
}

/// llama.cpp's converter reorders the rows of Llamas and Mistrals, and calls both `llama`; a file that says `mistral`
/// differs in its name alone.
const ARCHITECTURES: [Architecture; 4] = [
    Architecture { name: "llama", interleaved: true },
    Architecture { name: "mistral", interleaved: true },
    Architecture { name: "qwen2", interleaved: false },
    Architecture { name: "qwen3", interleaved: false },
];

impl Architecture {
    /// The architecture that a file names.
    ///
    /// # Errors
    /// A file of another kind, or of an architecture that is not read.
    pub fn of(metadata: &Metadata) -> Result<Self, String> {
        let supported = ARCHITECTURES.map(|known| known.name).join(", ");
        if let Some(kind) = metadata.text("general.type")?.filter(|kind| *kind != "model") {
            return Err(format!("key general.type is {kind:.64}, but only model is supported"));
        }
        let parts = metadata.size("split.count")?.unwrap_or(1);
        if parts > 1 {
            return Err(format!(
                "key split.count is {parts}: it is a part of a model, but only whole files are read; llama-gguf-split --merge \
                 makes one"
            ));
        }
        let Some(found) = metadata.text("general.architecture")? else {
            return Err(format!("key general.architecture is missing; {supported} are supported"));
        };
        let known = ARCHITECTURES.iter().find(|known| known.name == found);
        known
            .copied()
            .ok_or_else(|| format!("key general.architecture is {found:.64}, but only {supported} are supported"))
    }

    /// The architecture's key of this end.
    pub fn key(self, end: &str) -> String {
        format!("{}.{end}", self.name)
    }

    /// The family's `model_type` in config.json.
    pub fn model_type(self) -> &'static str {
        self.name
    }
}
