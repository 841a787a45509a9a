//! The tokenizer of a GGUF file: `tokenizer.ggml.*` in, the content of the tokenizer.json and tokenizer_config.json of
//! the same vocabulary out.

use std::collections::HashMap;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value, json};

use super::merges;
use super::metadata::{Metadata, unsupported};
use super::pre_tokenizers::PreTokenizer;

/// A tokenizer as the files of a Hugging Face folder.
#[derive(Debug)]
pub(in crate::trainer) struct GgufTokenizer {
    /// The content of tokenizer.json.
    pub json: Vec<u8>,
    /// The content of tokenizer_config.json.
    pub config: Vec<u8>,
}

const MODEL: &str = "tokenizer.ggml.model";
const TOKENS: &str = "tokenizer.ggml.tokens";
const MERGES: &str = "tokenizer.ggml.merges";

/// Kinds of tokens in `tokenizer.ggml.token_type`.
const CONTROL: f32 = 3.0;
const USER_DEFINED: f32 = 4.0;

/// Named tokens: the name in tokenizer_config.json, the key, and the number where a file of the kind `llama` says
/// nothing, as in llama.cpp.
const NAMED: [(&str, &str, Option<u64>); 4] = [
    ("bos_token", "tokenizer.ggml.bos_token_id", Some(1)),
    ("eos_token", "tokenizer.ggml.eos_token_id", Some(2)),
    ("unk_token", "tokenizer.ggml.unknown_token_id", Some(0)),
    ("pad_token", "tokenizer.ggml.padding_token_id", None),
];

/// A vocabulary with the rules that it was made with.
struct Vocabulary<'a> {
    tokens: Vec<&'a str>,
    /// The kind of each token; empty where the file has none.
    kinds: Vec<f32>,
    merges: Vec<(&'a str, &'a str)>,
    rules: Rules,
}

/// The rules by which a text is cut.
#[derive(Clone, Copy)]
enum Rules {
    /// Bytes as letters (GPT-2).
    Bytes(PreTokenizer),
    /// Characters, with bytes where a character is no token (SentencePiece).
    Characters {
        /// True where a text begins with a blank of its own.
        prefix: bool,
    },
}

impl GgufTokenizer {
    /// Reads the tokenizer of a model whose embedding has `rows` rows.
    ///
    /// # Errors
    /// A sentence that names the key at fault.
    pub fn read(metadata: &Metadata, rows: usize) -> Result<Self, String> {
        let Some(kind) = metadata.text(MODEL)? else {
            return Err(format!("key {MODEL} is missing: it has no tokenizer; gpt2 and llama are supported"));
        };
        let tokens = metadata.list(TOKENS)?.ok_or_else(|| format!("key {TOKENS} is missing"))?;
        if tokens.count != rows {
            return Err(format!(
                "key {TOKENS} has {} tokens, but tensor token_embd.weight has {rows} rows",
                tokens.count
            ));
        }
        let tokens = tokens.texts(TOKENS)?;
        let kinds = numbers(metadata, "tokenizer.ggml.token_type", tokens.len())?.unwrap_or_default();
        let given = metadata.list(MERGES)?.map(|list| list.texts(MERGES)).transpose()?;
        let given =
            given.map(|merges| merges.into_iter().enumerate().map(pair).collect::<Result<Vec<_>, _>>()).transpose()?;
        let (merges, rules) = match kind {
            "gpt2" => {
                let merges = given.ok_or_else(|| format!("key {MERGES} is missing"))?;
                (merges, Rules::Bytes(PreTokenizer::of(metadata.text("tokenizer.ggml.pre")?.unwrap_or("default"))?))
            }
            "llama" => {
                let prefix = metadata.flag("tokenizer.ggml.add_space_prefix")?.unwrap_or(true);
                let scores = || numbers(metadata, "tokenizer.ggml.scores", tokens.len());
                let merges = match given {
                    Some(merges) => merges,
                    None => merges::derive(&tokens, &scores()?.ok_or("key tokenizer.ggml.scores is missing")?)?,
                };
                (merges, Rules::Characters { prefix })
            }
            other => return Err(unsupported(MODEL, format!("{other:.64}"), "gpt2 or llama")),
        };
        let vocabulary = Vocabulary { tokens, kinds, merges, rules };
        vocabulary.check()?;
        let named = vocabulary.named(metadata)?;
        let json = vocabulary.json(metadata, &named)?;
        let config = config(metadata, named)?;
        Ok(Self { json, config })
    }
}

/// A list of one number for each token; none where the key is missing.
fn numbers(metadata: &Metadata, key: &str, tokens: usize) -> Result<Option<Vec<f32>>, String> {
    let Some(list) = metadata.list(key)? else { return Ok(None) };
    if list.count != tokens {
        return Err(format!("key {key} has {} values, but {TOKENS} has {tokens}", list.count));
    }
    list.numbers(key).map(Some)
}

/// The two parts of a merge: a blank is between them, and may begin the first.
fn pair((number, merge): (usize, &str)) -> Result<(&str, &str), String> {
    let found = merge.char_indices().skip(1).find(|(_, letter)| *letter == ' ');
    match found {
        Some((at, _)) => Ok((&merge[..at], &merge[at + 1..])),
        None => Err(format!("key {MERGES}: value {number} has no blank between two tokens")),
    }
}

impl Vocabulary<'_> {
    fn check(&self) -> Result<(), String> {
        let mut seen = HashMap::with_capacity(self.tokens.len());
        for (id, token) in self.tokens.iter().enumerate() {
            if token.is_empty() {
                return Err(format!("key {TOKENS}: value {id} is empty"));
            }
            if let Some(first) = seen.insert(*token, id) {
                return Err(format!("key {TOKENS}: values {first} and {id} are the same token"));
            }
        }
        Ok(())
    }

    /// The named tokens that there are.
    fn named(&self, metadata: &Metadata) -> Result<Map<String, Value>, String> {
        let mut named = Map::new();
        for (name, key, usual) in NAMED {
            let usual = usual.filter(|_| matches!(self.rules, Rules::Characters { .. }));
            let Some(id) = metadata.size(key)?.or(usual) else { continue };
            let token = usize::try_from(id).ok().and_then(|id| self.tokens.get(id));
            let token = token.ok_or_else(|| unsupported(key, id, &format!("a number below {}", self.tokens.len())))?;
            named.insert(name.into(), json!(token));
        }
        Ok(named)
    }

    /// tokenizer.json.
    fn json(&self, metadata: &Metadata, named: &Map<String, Value>) -> Result<Vec<u8>, String> {
        let strip = |prefix: bool| prefix.then(|| json!({ "type": "Strip", "content": " ", "start": 1, "stop": 0 }));
        let (whole, fallback, pre_tokenizer, decoder, add_bos) = match self.rules {
            Rules::Bytes(rules) => {
                let decoder =
                    json!({ "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true });
                (rules.whole_pieces, false, rules.json(), decoder, rules.add_bos)
            }
            Rules::Characters { prefix } => {
                let scheme = if prefix { "first" } else { "never" };
                let blanks =
                    json!({ "type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": scheme, "split": false });
                let replace = json!({ "type": "Replace", "pattern": { "String": "\u{2581}" }, "content": " " });
                let parts = [replace, json!({ "type": "ByteFallback" }), json!({ "type": "Fuse" })];
                let parts: Vec<Value> = parts.into_iter().chain(strip(prefix)).collect();
                (false, true, blanks, json!({ "type": "Sequence", "decoders": parts }), true)
            }
        };
        let add = |key: &str, usual: bool| metadata.flag(key).map(|given| given.unwrap_or(usual));
        let begin = add("tokenizer.ggml.add_bos_token", add_bos)?;
        let end = add("tokenizer.ggml.add_eos_token", false)?;
        let file = TokenizerJson {
            version: "1.0",
            added_tokens: self.added(),
            pre_tokenizer,
            post_processor: self.post_processor(named, begin, end),
            decoder,
            model: BytePairs {
                kind: "BPE",
                fuse_unk: fallback,
                byte_fallback: fallback,
                ignore_merges: whole,
                vocab: Ids(&self.tokens),
                merges: &self.merges,
            },
        };
        serde_json::to_vec(&file).map_err(|error| error.to_string())
    }

    /// The tokens that are matched whole in a text: those of control, which are special, and those of users.
    fn added(&self) -> Vec<Value> {
        let kinds = self.kinds.iter().enumerate().filter(|(_, kind)| [CONTROL, USER_DEFINED].contains(kind));
        let token = |(id, kind): (usize, &f32)| {
            json!({
                "id": id, "content": self.tokens[id], "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": *kind == CONTROL,
            })
        };
        kinds.map(token).collect()
    }

    /// The rule that puts tokens around a text; null where there is none.
    fn post_processor(&self, named: &Map<String, Value>, begin: bool, end: bool) -> Value {
        let token = |name: &str| {
            let token = named.get(name)?.as_str()?;
            Some((token, self.tokens.iter().position(|known| *known == token)?))
        };
        let (begin, end) = (token("bos_token").filter(|_| begin), token("eos_token").filter(|_| end));
        if begin.is_none() && end.is_none() {
            return Value::Null;
        }
        let special = |token: Option<(&str, usize)>, kind: u8| {
            token.map(|(token, _)| json!({ "SpecialToken": { "id": token, "type_id": kind } }))
        };
        let around = |id: &str, kind: u8| {
            let text = json!({ "Sequence": { "id": id, "type_id": kind } });
            [special(begin, kind), Some(text), special(end, kind)].into_iter().flatten()
        };
        let tokens = [begin, end]
            .into_iter()
            .flatten()
            .map(|(token, id)| (token.to_owned(), json!({ "id": token, "ids": [id], "tokens": [token] })));
        json!({
            "type": "TemplateProcessing",
            "single": around("A", 0).collect::<Vec<_>>(),
            "pair": around("A", 0).chain(around("B", 1)).collect::<Vec<_>>(),
            "special_tokens": tokens.collect::<Map<_, _>>(),
        })
    }
}

/// tokenizer_config.json: the named tokens and the chat templates.
fn config(metadata: &Metadata, named: Map<String, Value>) -> Result<Vec<u8>, String> {
    const TEMPLATE: &str = "tokenizer.chat_template";
    let mut config = named;
    // All added tokens are in tokenizer.json.
    config.insert("added_tokens_decoder".into(), json!({}));
    let mut templates = Vec::new();
    for (key, _) in metadata.iter().filter(|(key, _)| key.starts_with(TEMPLATE)) {
        let name = match key.strip_prefix(TEMPLATE).and_then(|end| end.strip_prefix('.')) {
            Some(name) => name,
            None if key == TEMPLATE => "default",
            None => continue,
        };
        if let Some(template) = metadata.text(key)? {
            templates.push(json!({ "name": name, "template": template }));
        }
    }
    config.insert("chat_template".into(), templates.into());
    serde_json::to_vec(&config).map_err(|error| error.to_string())
}

/// The content of tokenizer.json.
#[derive(serde::Serialize)]
struct TokenizerJson<'a> {
    version: &'static str,
    added_tokens: Vec<Value>,
    pre_tokenizer: Value,
    post_processor: Value,
    decoder: Value,
    model: BytePairs<'a>,
}

#[derive(serde::Serialize)]
struct BytePairs<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    fuse_unk: bool,
    byte_fallback: bool,
    ignore_merges: bool,
    vocab: Ids<'a>,
    merges: &'a [(&'a str, &'a str)],
}

/// Tokens as a table from text to number.
struct Ids<'a>(&'a [&'a str]);

impl Serialize for Ids<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut table = serializer.serialize_map(Some(self.0.len()))?;
        for (id, token) in self.0.iter().enumerate() {
            table.serialize_entry(token, &id)?;
        }
        table.end()
    }
}
