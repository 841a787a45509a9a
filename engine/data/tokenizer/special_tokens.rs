//! Special tokens and chat templates of a model's folder, from the files that `transformers` reads, in its order.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use serde_json::{Map, Value};

use super::DataError;

/// The content of the files beside a `tokenizer.json`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SpecialTokens {
    /// Special tokens by name, `eos_token` and the like, for chat templates. A token may be empty, or not in the
    /// vocabulary.
    pub(super) named: BTreeMap<String, String>,
    /// Further special tokens.
    pub(super) others: Vec<String>,
    /// Tokens that belong to the vocabulary, by number, though `tokenizer.json` may lack them.
    pub(super) added: Vec<AddedToken>,
    /// The end-of-text token by the model's own config; for folders whose tokenizer names none.
    pub(super) end: Option<u32>,
    /// All tokens that end a generated text by the model's own configs.
    pub(super) ends: Vec<u32>,
    /// Chat templates by name; `default` is the general one, `tool_use` the one for records with tools.
    pub(super) templates: BTreeMap<String, String>,
}

/// An added token, which is matched in text before any other rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AddedToken {
    pub(super) number: u32,
    pub(super) content: String,
    pub(super) single_word: bool,
    pub(super) lstrip: bool,
    pub(super) rstrip: bool,
    pub(super) normalized: bool,
    pub(super) special: bool,
}

type Fields = Map<String, Value>;

/// Default special tokens by tokenizer class, as in `transformers`.
static OF_CLASS: [(&str, &[(&str, &str)]); 7] = [
    ("BertTokenizer", OF_BERT),
    ("DistilBertTokenizer", OF_BERT),
    ("GPT2Tokenizer", &[("bos_token", END_OF_TEXT), ("eos_token", END_OF_TEXT), ("unk_token", END_OF_TEXT)]),
    ("Qwen2Tokenizer", &[("eos_token", END_OF_TEXT), ("unk_token", END_OF_TEXT), ("pad_token", END_OF_TEXT)]),
    ("LlamaTokenizer", &[("bos_token", "<s>"), ("eos_token", "</s>"), ("unk_token", "<unk>")]),
    ("CodeLlamaTokenizer", &[("bos_token", "<s>"), ("eos_token", "</s>"), ("unk_token", "<unk>")]),
    (
        "RobertaTokenizer",
        &[
            ("bos_token", "<s>"),
            ("eos_token", "</s>"),
            ("sep_token", "</s>"),
            ("cls_token", "<s>"),
            ("unk_token", "<unk>"),
            ("pad_token", "<pad>"),
            ("mask_token", "<mask>"),
        ],
    ),
];
static OF_BERT: &[(&str, &str)] = &[
    ("unk_token", "[UNK]"),
    ("sep_token", "[SEP]"),
    ("pad_token", "[PAD]"),
    ("cls_token", "[CLS]"),
    ("mask_token", "[MASK]"),
];
const END_OF_TEXT: &str = "<|endoftext|>";

/// Tokenizer classes by model type, for a folder that does not name its class.
static OF_MODEL: [(&str, &str); 8] = [
    ("bert", "BertTokenizer"),
    ("distilbert", "DistilBertTokenizer"),
    ("roberta", "RobertaTokenizer"),
    ("gpt2", "GPT2Tokenizer"),
    ("qwen2", "Qwen2Tokenizer"),
    ("qwen2_moe", "Qwen2Tokenizer"),
    ("qwen3", "Qwen2Tokenizer"),
    ("qwen3_moe", "Qwen2Tokenizer"),
];

impl SpecialTokens {
    /// Reads the content of a tokenizer_config.json that lists all added tokens and has the chat templates; `name` is its
    /// name in errors.
    ///
    /// # Errors
    /// Bytes that are no JSON object.
    pub(super) fn of_config(config: &[u8], name: &str) -> Result<Self, DataError> {
        let config: Fields = serde_json::from_slice(config).map_err(|error| DataError::Tokenizer {
            name: name.to_owned(),
            reason: format!("not a JSON object: {error}"),
        })?;
        let mut special = Self { templates: chat_templates_of(config.get("chat_template")), ..Self::default() };
        special.name(&config);
        Ok(special)
    }

    /// Reads the files that a folder has.
    ///
    /// # Errors
    /// A file that cannot be read or is no JSON object.
    pub(super) fn read(folder: &Path) -> Result<Self, DataError> {
        let config = object(folder, "tokenizer_config.json")?.unwrap_or_default();
        let model = object(folder, "config.json")?.unwrap_or_default();
        let generation = object(folder, "generation_config.json")?.unwrap_or_default();
        let mut special = Self {
            end: end(&generation).or_else(|| end(&model)),
            ends: ends(&generation).into_iter().chain(ends(&model)).collect(),
            ..Self::default()
        };
        special.name(&of_class(&config, &model));
        special.name(&config);
        match config.get("added_tokens_decoder").and_then(Value::as_object) {
            Some(decoder) => {
                special.add(decoder.iter().filter_map(|(number, token)| added(number.parse().ok()?, token)))
            }
            None => special.legacy(folder)?,
        }
        special.added.sort_by_key(|token| token.number);
        special.templates = templates(folder, &config)?;
        Ok(special)
    }

    /// Takes the special tokens of a file over; null removes one.
    fn name(&mut self, fields: &Fields) {
        let own = fields.get("extra_special_tokens").and_then(Value::as_object);
        for (name, value) in fields.iter().filter(|(name, _)| name.ends_with("_token")).chain(own.into_iter().flatten())
        {
            match content(value) {
                Some(token) => drop(self.named.insert(name.clone(), token.to_owned())),
                None if value.is_null() => drop(self.named.remove(name)),
                None => {}
            }
        }
        for list in ["extra_special_tokens", "additional_special_tokens"] {
            let tokens = fields.get(list).and_then(Value::as_array).into_iter().flatten();
            self.others.extend(tokens.filter_map(content).map(str::to_owned));
        }
    }

    /// The files of older versions, which count where the config does not list the added tokens.
    fn legacy(&mut self, folder: &Path) -> Result<(), DataError> {
        if let Some(map) = object(folder, "special_tokens_map.json")? {
            self.name(&map);
        }
        let numbers = object(folder, "added_tokens.json")?.unwrap_or_default();
        let found = numbers.iter().filter_map(|(token, number)| {
            let special = self.named.values().any(|named| named == token) || self.others.contains(token);
            let number = number.as_u64().and_then(|number| u32::try_from(number).ok())?;
            Some(AddedToken { special, normalized: !special, ..AddedToken::of(number, token) })
        });
        let found: Vec<_> = found.collect();
        self.add(found.into_iter());
        Ok(())
    }

    fn add(&mut self, tokens: impl Iterator<Item = AddedToken>) {
        self.added.extend(tokens.filter(|token| !token.content.is_empty()));
    }
}

impl AddedToken {
    pub(super) fn of(number: u32, content: &str) -> Self {
        let content = content.to_owned();
        Self { number, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true }
    }
}

/// A token: text, or an object with its content.
fn content(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get("content")?.as_str())
}

fn added(number: u32, token: &Value) -> Option<AddedToken> {
    let flag = |name: &str| token.get(name).and_then(Value::as_bool);
    let special = flag("special").unwrap_or(false);
    Some(AddedToken {
        single_word: flag("single_word").unwrap_or(false),
        lstrip: flag("lstrip").unwrap_or(false),
        rstrip: flag("rstrip").unwrap_or(false),
        normalized: flag("normalized").unwrap_or(!special),
        special,
        ..AddedToken::of(number, content(token)?)
    })
}

fn of_class(config: &Fields, model: &Fields) -> Fields {
    let text = |fields: &Fields, key: &str| Some(fields.get(key)?.as_str()?.to_owned());
    let own = text(config, "tokenizer_class").or_else(|| text(model, "tokenizer_class"));
    let of_model = || {
        let kind = text(model, "model_type")?;
        OF_MODEL.iter().find(|(known, _)| *known == kind).map(|(_, class)| (*class).to_owned())
    };
    let class = own.or_else(of_model).unwrap_or_default();
    let class = class.strip_suffix("Fast").unwrap_or(&class);
    let tokens = OF_CLASS.iter().find(|(known, _)| *known == class).map_or(&[][..], |(_, tokens)| *tokens);
    tokens.iter().map(|(name, token)| ((*name).to_owned(), Value::from(*token))).collect()
}

/// `eos_token_id`: a number, or the first of several.
fn end(config: &Fields) -> Option<u32> {
    ends(config).first().copied()
}

/// `eos_token_id`: a number, or several.
fn ends(config: &Fields) -> Vec<u32> {
    let Some(value) = config.get("eos_token_id") else { return Vec::new() };
    let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    values.iter().filter_map(Value::as_u64).filter_map(|number| u32::try_from(number).ok()).collect()
}

/// The chat templates in files of their own, else those in the config. `chat_template.json` is the file of processors;
/// it counts where there is nothing else.
fn templates(folder: &Path, config: &Fields) -> Result<BTreeMap<String, String>, DataError> {
    let mut found = BTreeMap::new();
    if let Some(text) = text(folder, "chat_template.jinja")? {
        found.insert("default".to_owned(), text);
    }
    if let Ok(entries) = std::fs::read_dir(folder.join("additional_chat_templates")) {
        for entry in entries.flatten() {
            let path = entry.path();
            let (Some(name), Some("jinja")) =
                (path.file_stem().and_then(|name| name.to_str()), path.extension().and_then(|end| end.to_str()))
            else {
                continue;
            };
            let inside = format!("additional_chat_templates/{name}.jinja");
            if let Some(text) = text(folder, &inside)? {
                found.insert(name.to_owned(), text);
            }
        }
    }
    if found.is_empty() {
        found = chat_templates_of(config.get("chat_template"));
    }
    if found.is_empty()
        && let Some(old) = object(folder, "chat_template.json")?
    {
        found = chat_templates_of(old.get("chat_template"));
    }
    Ok(found)
}

/// The chat templates of a config: one text, or a list of named texts.
fn chat_templates_of(value: Option<&Value>) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    match value {
        Some(Value::Array(list)) => {
            list.iter().filter_map(|entry| Some((text(&entry["name"])?, text(&entry["template"])?))).collect()
        }
        Some(value) => text(value).map(|text| ("default".to_owned(), text)).into_iter().collect(),
        None => BTreeMap::new(),
    }
}

fn text(folder: &Path, file: &str) -> Result<Option<String>, DataError> {
    match std::fs::read_to_string(folder.join(file)) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(wrong(folder, file, error.to_string())),
    }
}

fn object(folder: &Path, file: &str) -> Result<Option<Fields>, DataError> {
    let Some(text) = text(folder, file)? else { return Ok(None) };
    match serde_json::from_str(&text) {
        Ok(fields) => Ok(Some(fields)),
        Err(error) => Err(wrong(folder, file, format!("not a JSON object: {error}"))),
    }
}

fn wrong(folder: &Path, file: &str, reason: String) -> DataError {
    DataError::Tokenizer { name: folder.join(file).display().to_string(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(files: &[(&str, &str)]) -> Result<SpecialTokens, DataError> {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        SpecialTokens::read(dir.path())
    }

    fn named(files: &[(&str, &str)]) -> Vec<(String, String)> {
        read(files).unwrap().named.into_iter().collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, token)| ((*name).to_owned(), (*token).to_owned())).collect()
    }

    const CONFIG: &str = "tokenizer_config.json";
    const MAP: &str = "special_tokens_map.json";

    // Results of transformers 5.24 for the same folders.
    #[test]
    fn named_tokens_are_found_in_the_order_of_transformers() {
        let config = r#"{"eos_token": "</s>", "image_token": "<img>", "add_bos_token": true, "pad_token": null,
                         "extra_special_tokens": {"boi_token": "<boi>"}, "cls_token": {"content": "<s>", "lstrip": false}}"#;
        let all = [("boi_token", "<boi>"), ("cls_token", "<s>"), ("eos_token", "</s>"), ("image_token", "<img>")];
        assert_eq!(named(&[(CONFIG, config)]), pairs(&all));
        let map = r#"{"eos_token": {"content": "<eos>"}, "bos_token": "<bos>"}"#;
        let both = named(&[(CONFIG, r#"{"eos_token": "</s>"}"#), (MAP, map)]);
        assert_eq!(both, pairs(&[("bos_token", "<bos>"), ("eos_token", "<eos>")]));
        let decoder = r#"{"eos_token": "</s>", "added_tokens_decoder": {"1": {"content": "</s>", "special": true}}}"#;
        assert_eq!(named(&[(CONFIG, decoder), (MAP, map)]), pairs(&[("eos_token", "</s>")]));
    }

    #[test]
    fn a_class_has_tokens_of_its_own_where_the_config_says_nothing() {
        let of_text = pairs(&["bos_token", "eos_token", "unk_token"].map(|name| (name, END_OF_TEXT)));
        assert_eq!(named(&[("config.json", r#"{"model_type": "gpt2"}"#)]), of_text);
        assert_eq!(named(&[(CONFIG, r#"{"tokenizer_class": "GPT2TokenizerFast"}"#)]), of_text);
        assert!(named(&[("config.json", r#"{"model_type": "llama"}"#)]).is_empty());
        let generic = [
            ("config.json", r#"{"model_type": "gpt2"}"#),
            (CONFIG, r#"{"tokenizer_class": "PreTrainedTokenizerFast"}"#),
        ];
        assert!(named(&generic).is_empty());
        let null = named(&[(CONFIG, r#"{"tokenizer_class": "GPT2Tokenizer", "eos_token": null}"#)]);
        assert_eq!(null, pairs(&[("bos_token", END_OF_TEXT), ("unk_token", END_OF_TEXT)]));
        let llama = named(&[(CONFIG, r#"{"tokenizer_class": "LlamaTokenizer", "eos_token": ""}"#)]);
        assert_eq!(llama, pairs(&[("bos_token", "<s>"), ("eos_token", ""), ("unk_token", "<unk>")]));
    }

    #[test]
    fn added_tokens_have_numbers_from_the_config_or_from_the_older_file() {
        let config = r#"{"added_tokens_decoder": {"10": {"content": "<b>", "lstrip": true, "special": true}, "9": {"content": "<a>"}}}"#;
        let added = read(&[(CONFIG, config), ("added_tokens.json", r#"{"<c>": 3}"#)]).unwrap().added;
        let first = AddedToken { special: false, normalized: true, ..AddedToken::of(9, "<a>") };
        assert_eq!(added, [first, AddedToken { lstrip: true, ..AddedToken::of(10, "<b>") }]);
        let older = [(CONFIG, r#"{"eos_token": "<c>"}"#), ("added_tokens.json", r#"{"<d>": 4, "<c>": 3}"#)];
        let plain = AddedToken { special: false, normalized: true, ..AddedToken::of(4, "<d>") };
        assert_eq!(read(&older).unwrap().added, [AddedToken::of(3, "<c>"), plain]);
    }

    #[test]
    fn templates_in_files_come_before_those_in_the_config() {
        let templates = |files: &[(&str, &str)]| read(files).unwrap().templates.into_iter().collect::<Vec<_>>();
        let list = (
            CONFIG,
            r#"{"chat_template": [{"name": "default", "template": "a"}, {"name": "tool_use", "template": "b"}]}"#,
        );
        let old = ("chat_template.json", r#"{"chat_template": "e"}"#);
        assert_eq!(templates(&[list, old]), pairs(&[("default", "a"), ("tool_use", "b")]));
        assert_eq!(templates(&[list, ("chat_template.jinja", "c")]), pairs(&[("default", "c")]));
        let other = ("additional_chat_templates/tool_use.jinja", "d");
        assert_eq!(templates(&[list, other]), pairs(&[("tool_use", "d")]));
        assert_eq!(templates(&[(CONFIG, r#"{"chat_template": "x"}"#)]), pairs(&[("default", "x")]));
        assert_eq!(templates(&[old]), pairs(&[("default", "e")]));
    }

    #[test]
    fn the_models_own_config_says_what_ends_a_text() {
        let config = ("config.json", r#"{"eos_token_id": 5}"#);
        assert_eq!(read(&[config]).unwrap().end, Some(5));
        let generation = ("generation_config.json", r#"{"eos_token_id": [7, 8]}"#);
        assert_eq!(read(&[config, generation]).unwrap().end, Some(7));
        assert_eq!(read(&[]).unwrap(), SpecialTokens::default());
        let error = read(&[(CONFIG, "[]")]).unwrap_err().to_string();
        assert!(error.contains("tokenizer_config.json: not a JSON object"), "{error}");
    }
}
