//! Text in, token ids out, as `tokenizer.json` and its post-processor say. The only file that names `tokenizers`.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use serde_json::{Map, Value};

use super::DataError;
use super::chat::{ChatTemplate, Turn};

/// A Hugging Face tokenizer. Shared by reference from any thread.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    name: String,
    /// The token that ends an answer.
    end: Option<u32>,
    chat: Option<ChatTemplate>,
}

/// Token ids of a text, and the positions of those that have something of an answer in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answered {
    pub(super) tokens: Vec<u32>,
    /// Sorted, disjoint.
    pub(super) spans: Vec<Range<usize>>,
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer").field("name", &self.name).field("vocab_size", &self.vocab_size()).finish()
    }
}

impl Tokenizer {
    /// Reads the content of a `tokenizer.json`; `name` is what errors call it. Truncation and padding that the file may
    /// ask for are switched off: a record is encoded whole.
    ///
    /// # Errors
    /// [`DataError::Tokenizer`] where the bytes are not a tokenizer.
    pub fn from_bytes(bytes: &[u8], name: impl Into<String>) -> Result<Self, DataError> {
        let name = name.into();
        let failed = |reason: String| DataError::Tokenizer { name: name.clone(), reason };
        let mut inner = tokenizers::Tokenizer::from_bytes(bytes).map_err(|error| failed(error.to_string()))?;
        inner.with_truncation(None).map_err(|error| failed(error.to_string()))?;
        inner.with_padding(None);
        Ok(Self { inner, name, end: None, chat: None })
    }

    /// Adds what a `tokenizer_config.json` says beside the tokenizer: the token that ends an answer and the chat template.
    /// `template` is the content of a `chat_template.jinja`, which then counts in place of the one in the config.
    ///
    /// # Errors
    /// [`DataError::Tokenizer`] where the config or a template does not parse, or the tokenizer lacks the end token.
    pub fn with_config(mut self, config: &[u8], template: Option<&str>) -> Result<Self, DataError> {
        let failed = |reason: String| DataError::Tokenizer { name: self.name.clone(), reason };
        let config: Map<String, Value> = serde_json::from_slice(config)
            .map_err(|error| failed(format!("tokenizer_config.json is not a JSON object: {error}")))?;
        let text = |value: &Value| value.as_str().or_else(|| value.get("content")?.as_str()).map(str::to_owned);
        let named = config.iter().filter(|(name, _)| name.ends_with("_token"));
        let tokens: BTreeMap<_, _> = named.filter_map(|(name, value)| Some((name.clone(), text(value)?))).collect();
        let end = tokens.get("eos_token").map(|token| {
            let missing =
                || failed(format!("it has no token `{token}`, which its tokenizer_config.json calls eos_token"));
            self.token_id(token).ok_or_else(missing)
        });
        let end = end.transpose()?;
        let template = template.or_else(|| chat_template(config.get("chat_template")?));
        let parse = |template| {
            ChatTemplate::parse(template, tokens).map_err(|reason| failed(format!("chat template: {reason}")))
        };
        let chat = template.map(parse).transpose()?;
        (self.end, self.chat) = (end, chat);
        Ok(self)
    }

    /// Reads a model folder: `tokenizer.json`, and where they are there `tokenizer_config.json` and `chat_template.jinja`.
    ///
    /// # Errors
    /// As [`Self::from_file`] and [`Self::with_config`].
    pub fn from_folder(folder: &Path) -> Result<Self, DataError> {
        Self::from_file(&folder.join("tokenizer.json"))?.with_folder(folder)
    }

    /// Adds what lies beside a `tokenizer.json` in its folder, where it is there.
    ///
    /// # Errors
    /// As [`Self::with_config`].
    pub fn with_folder(self, folder: &Path) -> Result<Self, DataError> {
        let read = |file: &str| match std::fs::read_to_string(folder.join(file)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => {
                Err(DataError::Tokenizer { name: folder.join(file).display().to_string(), reason: error.to_string() })
            }
        };
        let (config, template) = (read("tokenizer_config.json")?, read("chat_template.jinja")?);
        match (&config, &template) {
            (None, None) => Ok(self),
            _ => self.with_config(config.as_deref().unwrap_or("{}").as_bytes(), template.as_deref()),
        }
    }

    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// [`DataError::Tokenizer`] with the path, where it cannot be read or is not a tokenizer.
    pub fn from_file(path: &Path) -> Result<Self, DataError> {
        let name = path.display().to_string();
        let bytes = std::fs::read(path)
            .map_err(|error| DataError::Tokenizer { name: name.clone(), reason: error.to_string() })?;
        Self::from_bytes(&bytes, name)
    }

    /// The token ids of a text, special tokens included as the post-processor says.
    ///
    /// # Errors
    /// [`DataError::Tokenizer`] where the model has no token for a piece of the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, DataError> {
        match self.inner.encode_fast(text, true) {
            Ok(encoding) => Ok(encoding.get_ids().to_vec()),
            Err(error) => Err(DataError::Tokenizer { name: self.name.clone(), reason: error.to_string() }),
        }
    }

    /// The token ids of a text whose bytes in `answer` are an answer, with the token behind it that ends it, where the
    /// tokenizer's config names one.
    pub(super) fn encode_answer(&self, text: &str, answer: Range<usize>) -> Result<Answered, DataError> {
        let mut answered = self.encode_spans(text, &[answer], true)?;
        if let Some(end) = self.end.filter(|end| answered.tokens.last() != Some(end)) {
            let last = answered.tokens.len();
            match answered.spans.last_mut() {
                Some(span) if span.end == last => span.end += 1,
                _ => answered.spans.push(last..last + 1),
            }
            answered.tokens.push(end);
        }
        Ok(answered)
    }

    /// The token ids of a conversation, as the chat template writes it; no special tokens are added to its own.
    pub(super) fn encode_chat(&self, turns: &[Turn]) -> Result<Answered, DataError> {
        let failed = |reason: String| DataError::Tokenizer { name: self.name.clone(), reason };
        let missing = || {
            failed("it has no chat template, in a tokenizer_config.json or chat_template.jinja beside it, which data.template \
                    asks for".into())
        };
        let template = self.chat.as_ref().ok_or_else(missing)?;
        let (text, answers) = template.render(turns).map_err(|reason| failed(format!("chat template: {reason}")))?;
        self.encode_spans(&text, &answers, false)
    }

    /// A token belongs to an answer when a byte of it does.
    fn encode_spans(&self, text: &str, answers: &[Range<usize>], special: bool) -> Result<Answered, DataError> {
        let encoding = self
            .inner
            .encode(text, special)
            .map_err(|error| DataError::Tokenizer { name: self.name.clone(), reason: error.to_string() })?;
        let mut spans: Vec<Range<usize>> = Vec::new();
        for (at, (start, end)) in encoding.get_offsets().iter().enumerate() {
            if !answers.iter().any(|answer| *start < answer.end && *end > answer.start) {
                continue;
            }
            match spans.last_mut() {
                Some(span) if span.end == at => span.end += 1,
                _ => spans.push(at..at + 1),
            }
        }
        Ok(Answered { tokens: encoding.get_ids().to_vec(), spans })
    }

    /// The text of token ids; special tokens are left out, ids that the vocabulary lacks are skipped.
    ///
    /// # Errors
    /// [`DataError::Tokenizer`] where the tokenizer's decoder fails.
    pub fn decode(&self, tokens: &[u32]) -> Result<String, DataError> {
        self.inner
            .decode(tokens, true)
            .map_err(|error| DataError::Tokenizer { name: self.name.clone(), reason: error.to_string() })
    }

    /// Tokens of the vocabulary, added ones included.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// The id of a token, by its content.
    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// What errors call it: its file, or the name it was given.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// The chat template of a `tokenizer_config.json`: text, or of several the one that is called default.
fn chat_template(value: &Value) -> Option<&str> {
    match value {
        Value::Array(list) => list.iter().find(|entry| entry["name"] == "default")?.get("template")?.as_str(),
        template => template.as_str(),
    }
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "one span of several that there could be")]
pub(super) mod tests {
    use super::*;

    /// Words of a tiny vocabulary, `<s>` in front, as Llama's post-processor does.
    pub(in crate::data) fn words() -> Tokenizer {
        let json = r#"{
            "version": "1.0", "truncation": {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0},
            "padding": null, "normalizer": null, "decoder": null,
            "added_tokens": [{"id": 0, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false,
                              "normalized": false, "special": true}],
            "pre_tokenizer": {"type": "Whitespace"},
            "post_processor": {"type": "TemplateProcessing",
                "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
                "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}}},
            "model": {"type": "WordLevel", "unk_token": "?", "vocab": {"<s>": 0, "?": 1, "to": 2, "be": 3, "or": 4, "not": 5}}
        }"#;
        Tokenizer::from_bytes(json.as_bytes(), "words").unwrap()
    }

    #[test]
    fn the_post_processor_adds_special_tokens_and_the_files_truncation_is_ignored() {
        assert_eq!(words().encode("to be or not to be").unwrap(), [0, 2, 3, 4, 5, 2, 3]);
        assert_eq!(words().vocab_size(), 6);
        assert_eq!(words().token_id("be"), Some(3));
        assert_eq!(words().decode(&[0, 2, 3]).unwrap(), "to be");
    }

    const CONFIG: &str = r#"{"bos_token": {"content": "<s>"}, "eos_token": "not", "chat_template":
        [{"name": "other", "template": "{{ x }}"}, {"name": "default", "template": "{{ bos_token }} {% for m in messages %}{{ m.role }} {{ m.content }} or {% endfor %}{% if add_generation_prompt %}assistant {% endif %}"}]}"#;

    #[test]
    fn an_answer_is_ended_by_the_token_that_the_config_names() {
        let answered = |tokenizer: &Tokenizer| tokenizer.encode_answer("to be or", 3..8).unwrap();
        assert_eq!(answered(&words()), Answered { tokens: vec![0, 2, 3, 4], spans: vec![2..4] });
        let with_end = words().with_config(CONFIG.as_bytes(), None).unwrap();
        assert_eq!(answered(&with_end), Answered { tokens: vec![0, 2, 3, 4, 5], spans: vec![2..5] });
        let straddles = words().encode_answer("to be", 4..5).unwrap();
        assert_eq!(straddles.spans, [2..3]);
    }

    #[test]
    fn a_conversation_is_encoded_as_the_chat_template_writes_it() {
        let turn = |role: &str, content: &str| Turn { role: role.into(), content: content.into() };
        let talk = [turn("user", "to"), turn("assistant", "be"), turn("user", "to"), turn("assistant", "not be")];
        let tokenizer = words().with_config(CONFIG.as_bytes(), None).unwrap();
        let answered = tokenizer.encode_chat(&talk).unwrap();
        assert_eq!(answered.tokens, [0, 1, 2, 4, 1, 3, 4, 1, 2, 4, 1, 5, 3, 4]);
        assert_eq!(answered.spans, [5..7, 11..14]);
        let own = words().with_config(CONFIG.as_bytes(), Some("{{ messages[0].content }}")).unwrap();
        assert_eq!(own.encode_chat(&talk[..2]).unwrap().tokens, [2]);
    }

    #[test]
    fn what_a_tokenizer_lacks_is_named() {
        let error = words().encode_chat(&[]).unwrap_err().to_string();
        assert!(error.starts_with("tokenizer words: it has no chat template"), "{error}");
        let error = words().with_config(br#"{"eos_token": "</s>"}"#, None).unwrap_err().to_string();
        assert!(error.contains("no token `</s>`, which its tokenizer_config.json calls eos_token"), "{error}");
        let error = words().with_config(b"[]", None).unwrap_err().to_string();
        assert!(error.contains("tokenizer_config.json is not a JSON object"), "{error}");
    }

    #[test]
    fn a_tokenizer_that_cannot_be_read_is_named() {
        let error = Tokenizer::from_bytes(b"{}", "bundled").unwrap_err().to_string();
        assert!(error.starts_with("tokenizer bundled: "), "{error}");
        let error = Tokenizer::from_file(Path::new("/nowhere/tokenizer.json")).unwrap_err().to_string();
        assert!(error.starts_with("tokenizer /nowhere/tokenizer.json: "), "{error}");
    }
}
