//! Fingerprints of the files that a run reads beside its config and data: the model's weights and settings, its
//! tokenizer. A run is resumed only over the same ones.

use std::path::Path;

use serde_json::Value;

use super::weights::Checkpoint;

/// Files of a folder that decide the tokens of a text.
const OF_TOKENIZER: [&str; 6] = [
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
];

/// BLAKE3 over names, shapes, types and values of all tensors in the order of their names, in whatever file they lie,
/// and over the settings as JSON values; of a GGUF file over all its bytes.
pub(super) fn of_model(settings: &[&[u8]], weights: &Checkpoint) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    let mut add = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    for json in settings {
        match serde_json::from_slice::<Value>(json) {
            Ok(json) => add(json.to_string().as_bytes()),
            Err(_) => add(json),
        }
    }
    if let Some(file) = weights.gguf_file() {
        add(file);
        return hasher.finalize();
    }
    let mut tensors: Vec<_> = weights.tensors().collect();
    tensors.sort_by_key(|(name, _)| *name);
    for (name, stored) in tensors {
        add(format!("{name} {:?} {:?}", stored.dtype, stored.shape).as_bytes());
        add(weights.bytes(stored));
    }
    hasher.finalize()
}

/// BLAKE3 over the tokenizer's files, those that the folder has.
pub(super) fn of_tokenizer(tokenizer: &[u8], folder: Option<&Path>) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(tokenizer);
    for file in OF_TOKENIZER {
        if let Some(bytes) = folder.and_then(|folder| std::fs::read(folder.join(file)).ok()) {
            hasher.update(file.as_bytes());
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(&bytes);
        }
    }
    hasher.finalize()
}
