//! The config.json that a GGUF file's metadata amounts to, and the use of each of its keys.

use serde_json::{Map, Value, json};

use super::architecture::Architecture;
use super::file::GgufFile;
use super::metadata::{self, unsupported};
use crate::trainer::TrainerError;

/// The content of config.json.
#[derive(Debug)]
pub(super) struct Settings {
    pub json: Value,
    /// Keys of the architecture that nothing is known of, a note each.
    pub left_out: Vec<String>,
}

/// Sizes: key of the architecture, key of config.json, and true where every file needs it.
const SIZES: [(&str, &str, bool); 6] = [
    ("context_length", "max_position_embeddings", true),
    ("embedding_length", "hidden_size", true),
    ("block_count", "num_hidden_layers", true),
    ("feed_forward_length", "intermediate_size", true),
    ("attention.head_count", "num_attention_heads", true),
    ("attention.head_count_kv", "num_key_value_heads", false),
];

/// Numbers: as [`SIZES`].
const NUMBERS: [(&str, &str, bool); 2] =
    [("attention.layer_norm_rms_epsilon", "rms_norm_eps", true), ("rope.freq_base", "rope_theta", false)];

/// Keys whose value changes what is computed: refused, unless it is this one.
const ONLY: [(&str, f64); 13] = [
    ("attention.clamp_kqv", 0.0),
    ("attention.max_alibi_bias", 0.0),
    ("attention.scale", 0.0),
    ("attention.temperature_scale", 0.0),
    ("embedding_scale", 1.0),
    ("expert_count", 0.0),
    ("expert_used_count", 0.0),
    ("logit_scale", 1.0),
    ("residual_scale", 1.0),
    ("rope.scaling.attn_factor", 1.0),
    ("rope.scaling.yarn_attn_factor", 1.0),
    ("rope.scaling.yarn_ext_factor", 1.0),
    ("rope.scaling.yarn_log_multiplier", 0.0),
];

/// Further keys that are read, or that change nothing.
const KNOWN: [&str; 16] = [
    "attention.causal",
    "attention.key_length",
    "attention.sliding_window",
    "attention.value_length",
    "rope.dimension_count",
    "rope.freq_base_swa",
    "rope.scale_linear",
    "rope.scaling.factor",
    "rope.scaling.finetuned",
    "rope.scaling.original_context_length",
    "rope.scaling.type",
    "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow",
    "tensor_data_layout",
    "use_parallel_residual",
    "vocab_size",
];

/// The config.json of a file.
///
/// # Errors
/// A sentence that names the key at fault.
pub(super) fn config_json(file: &GgufFile, architecture: Architecture) -> Result<Settings, String> {
    let metadata = &file.metadata;
    let mut config = Map::from_iter([("model_type".to_owned(), json!(architecture.model_type()))]);
    let missing = |key: &str| format!("key {key} is missing");
    for (end, name, needed) in SIZES {
        let key = architecture.key(end);
        match metadata.size(&key)? {
            Some(size) => drop(config.insert(name.into(), size.into())),
            None if needed => return Err(missing(&key)),
            None => {}
        }
    }
    for (end, name, needed) in NUMBERS {
        let key = architecture.key(end);
        match metadata.number(&key)? {
            Some(number) => drop(config.insert(name.into(), number.into())),
            None if needed => return Err(missing(&key)),
            None => {}
        }
    }
    // The classes of config.json have defaults of their own, those of one checkpoint: here a missing key says itself.
    if !config.contains_key("num_key_value_heads") {
        config.insert("num_key_value_heads".into(), config["num_attention_heads"].clone());
    }
    refuse_others(file, architecture)?;
    config.insert("head_dim".into(), head_size(file, architecture, &config)?.into());
    config.insert("vocab_size".into(), vocabulary(file, architecture)?.into());
    config.insert("sliding_window".into(), window(file, architecture, &config)?);
    if let Some(rope) = rope(file, architecture)? {
        config.insert("rope_scaling".into(), rope);
    }
    let has = |name: &str| file.tensors.iter().any(|tensor| tensor.name == name);
    config.insert("tie_word_embeddings".into(), (!has("output.weight")).into());
    config.insert("attention_bias".into(), has("blk.0.attn_q.bias").into());
    config.insert("mlp_bias".into(), has("blk.0.ffn_up.bias").into());
    for (end, name) in [("bos", "bos_token_id"), ("eos", "eos_token_id"), ("padding", "pad_token_id")] {
        if let Some(id) = metadata.size(&format!("tokenizer.ggml.{end}_token_id"))? {
            config.insert(name.into(), id.into());
        }
    }
    Ok(Settings { json: Value::Object(config), left_out: unknown(file, architecture) })
}

fn refuse_others(file: &GgufFile, architecture: Architecture) -> Result<(), String> {
    for (end, only) in ONLY {
        let key = architecture.key(end);
        if let Some(found) = file.metadata.number(&key)?.filter(|found| *found != only) {
            return Err(unsupported(&key, found, &only.to_string()));
        }
    }
    for (end, only) in [("attention.causal", true), ("use_parallel_residual", false)] {
        let key = architecture.key(end);
        if let Some(found) = file.metadata.flag(&key)?.filter(|found| *found != only) {
            return Err(unsupported(&key, found, &only.to_string()));
        }
    }
    Ok(())
}

/// The size of a head; all three keys on it have to agree.
fn head_size(file: &GgufFile, architecture: Architecture, config: &Map<String, Value>) -> Result<u64, String> {
    let size = |end: &str| file.metadata.size(&architecture.key(end));
    let of = |name: &str| config[name].as_u64().unwrap_or(0);
    let whole = of("hidden_size").checked_div(of("num_attention_heads")).unwrap_or(0);
    let head = size("attention.key_length")?.unwrap_or(whole);
    for end in ["attention.value_length", "rope.dimension_count"] {
        if let Some(found) = size(end)?.filter(|found| *found != head) {
            return Err(unsupported(&architecture.key(end), found, &format!("the size of a head, {head},")));
        }
    }
    Ok(head)
}

/// The rows of the embedding, which `vocab_size` has to agree with.
fn vocabulary(file: &GgufFile, architecture: Architecture) -> Result<u64, String> {
    let embedding = file.tensors.iter().find(|tensor| tensor.name == "token_embd.weight");
    let embedding = embedding.ok_or("tensor token_embd.weight is missing")?;
    let rows = embedding.shape[0] as u64;
    let key = architecture.key("vocab_size");
    match file.metadata.size(&key)?.filter(|size| *size != rows) {
        Some(found) => Err(unsupported(&key, found, &format!("{rows}, the rows of token_embd.weight,"))),
        None => Ok(rows),
    }
}

/// `sliding_window`. Only a Mistral's attention has one in llama.cpp, too.
fn window(file: &GgufFile, architecture: Architecture, config: &Map<String, Value>) -> Result<Value, String> {
    let key = architecture.key("attention.sliding_window");
    let positions = config["max_position_embeddings"].as_u64().unwrap_or(0);
    match file.metadata.size(&key)?.filter(|size| (1..positions).contains(size)) {
        Some(size) if architecture.name == "mistral" => Ok(size.into()),
        Some(size) => Err(unsupported(&key, size, &format!("one of at least {positions} positions, or none,"))),
        None => Ok(Value::Null),
    }
}

/// `rope_scaling`; none where positions are not scaled.
fn rope(file: &GgufFile, architecture: Architecture) -> Result<Option<Value>, String> {
    let number = |end: &str| file.metadata.number(&architecture.key(end));
    let key = architecture.key("rope.scaling.type");
    let (kind, old) = (file.metadata.text(&key)?, number("rope.scale_linear")?);
    let factor = number("rope.scaling.factor")?.or(old);
    match kind {
        None if factor.is_none_or(|factor| factor == 1.0) => Ok(None),
        Some("none") => Ok(None),
        // As in llama.cpp, a factor alone is one of linear scaling.
        None | Some("linear") => Ok(Some(json!({ "rope_type": "linear", "factor": factor }))),
        Some("yarn") => {
            let mut table = Map::from_iter([("rope_type".into(), json!("yarn")), ("factor".into(), json!(factor))]);
            let more = [
                ("rope.scaling.original_context_length", "original_max_position_embeddings"),
                ("rope.scaling.yarn_beta_fast", "beta_fast"),
                ("rope.scaling.yarn_beta_slow", "beta_slow"),
            ];
            for (end, name) in more {
                if let Some(number) = number(end)? {
                    table.insert(name.into(), json!(number));
                }
            }
            Ok(Some(table.into()))
        }
        Some(found) => Err(unsupported(&key, format!("{found:.64}"), "none, linear or yarn")),
    }
}

/// The architecture's keys that are in no table.
fn unknown(file: &GgufFile, architecture: Architecture) -> Vec<String> {
    let start = architecture.key("");
    let known = |end: &str| {
        let sizes = SIZES.iter().chain(&NUMBERS).map(|(known, ..)| *known);
        sizes.chain(ONLY.iter().map(|(known, _)| *known)).chain(KNOWN).any(|known| known == end)
    };
    let keys = file.metadata.iter().filter(|(key, _)| key.strip_prefix(&start).is_some_and(|end| !known(end)));
    keys.map(|(key, value): (&str, &metadata::Value)| format!("{key:.64} {value} is left out: nothing is known of it"))
        .collect()
}

/// An error on a key of config.json, with the key's name in the file.
pub(super) fn in_words_of_gguf(error: TrainerError, architecture: Architecture) -> TrainerError {
    let TrainerError::Unsupported { file, key, found, supported } = error else { return error };
    let more = [("head_dim", "attention.key_length"), ("sliding_window", "attention.sliding_window")];
    let sizes = SIZES.iter().chain(&NUMBERS).map(|(end, name, _)| (*name, *end));
    let end = sizes.chain(more).find(|(name, _)| *name == key).map(|(_, end)| end);
    let key = match (end, key.strip_prefix("rope_scaling.")) {
        (Some(end), _) => architecture.key(end),
        (None, Some(part)) => architecture.key(&format!("rope.scaling.{part}")),
        (None, None) => key,
    };
    TrainerError::Unsupported { file, key, found, supported }
}
