//! Models in one GGUF file, the format of llama.cpp: the file in; the spec, the tokenizer's files and the checkpoint of
//! the Hugging Face folder that it was made of out. So one set of rules holds for both.

mod architecture;
mod block_type;
mod codes;
mod cursor;
mod file;
mod k_quants;
mod merges;
mod metadata;
mod names;
mod pre_tokenizers;
mod row_products;
mod rows;
mod scale;
mod settings;
mod tokenizer;
mod write_values;

use std::path::Path;

use super::TrainerError;
use super::family::Spec;
use super::weights::Checkpoint;
use architecture::Architecture;
pub(super) use file::GgufFile;
pub(super) use names::module_in_file;
pub(super) use rows::{RowOrder, StoredRows};
pub(super) use tokenizer::GgufTokenizer;

/// A model's parts, as the files of a Hugging Face folder.
#[derive(Debug)]
pub(super) struct GgufModel {
    /// The content of config.json.
    pub settings: Vec<u8>,
    pub spec: Spec,
    pub tokenizer: GgufTokenizer,
    /// The weights, mapped, by their names in the folder.
    pub weights: Checkpoint<'static>,
}

/// True for a path that names a GGUF file.
pub(super) fn is_gguf(path: &Path) -> bool {
    !path.is_dir() && path.extension().is_some_and(|end| end.eq_ignore_ascii_case("gguf"))
}

impl GgufModel {
    /// Maps and checks a file. Each tensor's name, type, shape and place are checked; its values are not read. The file
    /// must not change while the model lives.
    ///
    /// # Errors
    /// [`TrainerError`] naming the file, and the key or tensor at fault.
    pub fn open(path: &Path) -> Result<Self, TrainerError> {
        let mut weights = Checkpoint::map_file(path)?;
        let file = path.display().to_string();
        let failed = |reason: String| TrainerError::File { path: path.into(), reason };
        let parsed = GgufFile::read(weights.file_bytes()).map_err(failed)?;
        let architecture = Architecture::of(&parsed.metadata).map_err(failed)?;
        let settings = settings::config_json(&parsed, architecture).map_err(failed)?;
        let json = settings.json.to_string().into_bytes();
        let mut spec = Spec::read(&json, &file).map_err(|error| settings::in_words_of_gguf(error, architecture))?;
        spec.left_out.extend(settings.left_out.iter().map(|key| format!("{file}: {key}")));
        names::slow_turns(&parsed, weights.file_bytes(), &mut spec).map_err(failed)?;
        let tokenizer = GgufTokenizer::read(&parsed.metadata, spec.vocabulary).map_err(failed)?;
        let entries = names::entries(&parsed, &spec, architecture).map_err(failed)?;
        weights.set_tensors(entries);
        Ok(Self { settings: json, spec, tokenizer, weights })
    }
}

#[cfg(test)]
mod tests;
