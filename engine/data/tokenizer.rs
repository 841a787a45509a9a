//! Tokenizers: text in, token ids out, by `tokenizer.json` and its post-processor. With `tokenizer/` all that names
//! `tokenizers`.

mod limits;
mod long_text;
mod prompt;
mod special_tokens;
mod token_stream;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use tokenizers::AddedToken;

pub use self::prompt::PromptForm;
use self::special_tokens::SpecialTokens;
pub use self::token_stream::TokenStream;
use super::DataError;
use super::chat::{ChatTemplate, Conversation};
use super::panic_guard::catch_panic;

/// A conversation as text, with the byte ranges of its answers.
type Rendered = (String, Vec<Range<usize>>);

/// A Hugging Face tokenizer. Shared by reference from any thread.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    name: String,
    end: EndOfTurn,
    /// Tokens that end a generated text, ascending.
    ends: Vec<u32>,
    /// Chat templates by name; the error of one that does not parse shows where it is used.
    templates: BTreeMap<String, Result<ChatTemplate, String>>,
    /// True where there are texts that it cannot encode.
    may_fail: bool,
}

/// The end-of-turn token behind an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
enum EndOfTurn {
    Unnamed,
    Token(u32),
    /// The named token is not in the vocabulary.
    Lost(String),
}

/// Token ids of a text, and the positions of the tokens of its answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EncodedAnswers {
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
    /// Reads the content of a `tokenizer.json`; `name` is its name in errors. Truncation and padding of the file are
    /// switched off: a record is encoded whole.
    ///
    /// # Errors
    /// [`DataError::Tokenizer`] where the bytes are no tokenizer, or one whose rules make very long text of short.
    pub fn from_bytes(bytes: &[u8], name: impl Into<String>) -> Result<Self, DataError> {
        let name = name.into();
        let failed = |reason: String| DataError::Tokenizer { name: name.clone(), reason };
        limits::check(bytes).map_err(failed)?;
        let read = || -> tokenizers::Result<(tokenizers::Tokenizer, bool)> {
            let mut inner = tokenizers::Tokenizer::from_bytes(bytes)?;
            inner.with_truncation(None)?;
            inner.with_padding(None);
            // A post-processor may name a token that it does not define, which shows only where it is used.
            drop(inner.encode_fast("", true));
            // Characters that hardly any vocabulary has: if they can be encoded, every text can.
            let may_fail = inner.encode_fast("\u{10fffd}\u{f8ff} 東 Ωжq", false).is_err();
            Ok((inner, may_fail))
        };
        let (inner, may_fail) = catch_panic(read).map_err(failed)?.map_err(|error| failed(error.to_string()))?;
        Ok(Self { inner, name, end: EndOfTurn::Unnamed, ends: Vec::new(), templates: BTreeMap::new(), may_fail })
    }

    /// Reads a model folder: `tokenizer.json` and the files beside it.
    ///
    /// # Errors
    /// As [`Self::from_file`] and [`Self::with_folder`].
    pub fn from_folder(folder: &Path) -> Result<Self, DataError> {
        Self::from_file(&folder.join("tokenizer.json"))?.with_folder(folder)
    }

    /// Adds the files beside a `tokenizer.json` in its folder, where they exist: special tokens, chat templates, added
    /// tokens that the vocabulary lacks.
    ///
    /// # Errors
    /// [`DataError::Tokenizer`] where a file cannot be read or is no JSON.
    pub fn with_folder(self, folder: &Path) -> Result<Self, DataError> {
        self.with(SpecialTokens::read(folder)?)
    }

    /// Adds the special tokens and chat templates of a tokenizer_config.json, where there is no other file beside it.
    ///
    /// # Errors
    /// [`DataError::Tokenizer`] where it is no JSON.
    pub fn with_config(self, config: &[u8]) -> Result<Self, DataError> {
        let special = SpecialTokens::of_config(config, &self.name)?;
        self.with(special)
    }

    fn with(mut self, special: SpecialTokens) -> Result<Self, DataError> {
        self.add(&special)?;
        self.end = match (special.named.get("eos_token"), special.end) {
            (Some(token), _) if self.token_id(token).is_some() => {
                self.token_id(token).map_or(EndOfTurn::Unnamed, EndOfTurn::Token)
            }
            (_, Some(id)) if self.inner.id_to_token(id).is_some() => EndOfTurn::Token(id),
            (Some(token), _) => EndOfTurn::Lost(token.clone()),
            (None, _) => EndOfTurn::Unnamed,
        };
        self.ends = special.ends;
        if let EndOfTurn::Token(end) = self.end {
            self.ends.push(end);
        }
        self.ends.sort_unstable();
        self.ends.dedup();
        let parsed = |(name, source): (String, String)| (name, ChatTemplate::parse(&source, special.named.clone()));
        self.templates = special.templates.into_iter().map(parsed).collect();
        Ok(self)
    }

    /// Adds tokens that are matched whole in text. One that is special by its name alone must be in the vocabulary: the
    /// model would have no row for another.
    fn add(&mut self, special: &SpecialTokens) -> Result<(), DataError> {
        let known = self.inner.get_added_tokens_decoder();
        let known = |content: &str| known.values().any(|token| token.content == content);
        let added = special.added.iter().filter(|token| !known(&token.content)).map(|token| AddedToken {
            content: token.content.clone(),
            single_word: token.single_word,
            lstrip: token.lstrip,
            rstrip: token.rstrip,
            normalized: token.normalized,
            special: token.special,
        });
        let names = special.named.values().chain(&special.others);
        let named = names
            .filter(|token| !known(token) && !special.added.iter().any(|added| added.content == **token))
            .filter(|token| !token.is_empty() && self.token_id(token).is_some())
            .map(|token| AddedToken::from(token.as_str(), true));
        for token in added.chain(named).collect::<Vec<_>>() {
            let special = token.special;
            let tokens = [token];
            let inner = &mut self.inner;
            catch_panic(|| if special { inner.add_special_tokens(&tokens) } else { inner.add_tokens(&tokens) })
                .map_err(|reason| self.failed(reason))?;
        }
        Ok(())
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

    fn failed(&self, reason: impl Into<String>) -> DataError {
        DataError::Tokenizer { name: self.name.clone(), reason: reason.into() }
    }

    /// The token ids of a text, with the special tokens of the post-processor.
    ///
    /// # Errors
    /// [`DataError::Tokenizer`] where the model has no token for a piece of the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, DataError> {
        Ok(self.encode_with_ending(text)?.0)
    }

    /// The token ids of a text as of [`Self::encode`], and how many of the last ones the post-processor added.
    pub(super) fn encode_with_ending(&self, text: &str) -> Result<(Vec<u32>, usize), DataError> {
        let encoded = catch_panic(|| self.inner.encode_fast(text, true)).map_err(|reason| self.failed(reason))?;
        let encoded = encoded.map_err(|error| self.failed(error.to_string()))?;
        let ending = encoded.get_special_tokens_mask().iter().rev().take_while(|special| **special == 1).count();
        Ok((encoded.get_ids().to_vec(), ending))
    }

    /// The encoding with the byte ranges of the tokens.
    fn encode_placed(&self, text: &str, special: bool) -> Result<tokenizers::Encoding, DataError> {
        let encoded = catch_panic(|| self.inner.encode(text, special)).map_err(|reason| self.failed(reason))?;
        encoded.map_err(|error| self.failed(error.to_string()))
    }

    /// True where there are texts that it cannot encode.
    pub(super) fn may_fail(&self) -> bool {
        self.may_fail
    }

    /// The token ids of a text whose byte range `answer` is an answer, with the end-of-turn token behind it, where a
    /// config names one. Of a text with more than `most` tokens at least the first `most`.
    pub(super) fn encode_answer(
        &self,
        text: &str,
        answer: Range<usize>,
        most: usize,
    ) -> Result<EncodedAnswers, DataError> {
        if let EndOfTurn::Lost(token) = &self.end {
            let reason = match token.is_empty() {
                true => "its eos_token is empty, but an answer needs a token that ends it".to_owned(),
                false => format!("it has no token `{token}`, which is its eos_token and would end an answer"),
            };
            return Err(self.failed(reason));
        }
        let mut answered = self.encode_spans(text, &[answer], true, most)?;
        if let EndOfTurn::Token(end) = self.end
            && answered.tokens.last() != Some(&end)
        {
            let last = answered.tokens.len();
            match answered.spans.last_mut() {
                Some(span) if span.end == last => span.end += 1,
                _ => answered.spans.push(last..last + 1),
            }
            answered.tokens.push(end);
        }
        Ok(answered)
    }

    /// A conversation as its chat template renders it, with the byte ranges of its answers. The outer error is the
    /// tokenizer's, the inner one the template's error for this conversation.
    pub(super) fn render(&self, conversation: &Conversation) -> Result<Result<Rendered, String>, DataError> {
        let template = self.template(conversation.has_tools())?;
        Ok(template.render(conversation).map_err(|reason| format!("chat template: {reason}")))
    }

    /// The chat template for conversations with or without tools.
    fn template(&self, tools: bool) -> Result<&ChatTemplate, DataError> {
        let of_tools = self.templates.get("tool_use").filter(|_| tools);
        match of_tools.or_else(|| self.templates.get("default")) {
            Some(Ok(template)) => Ok(template),
            Some(Err(reason)) => Err(self.failed(format!("its chat template cannot be read: {reason}"))),
            None if self.templates.is_empty() => Err(self.failed(
                "it has no chat template, in a tokenizer_config.json or chat_template.jinja beside it, which data.template \
                 asks for",
            )),
            None => {
                let names = DataError::listed(self.templates.keys().map(String::as_str));
                Err(self.failed(format!("none of its chat templates is called default: it has {names}")))
            }
        }
    }

    /// The text of a record's `messages`.
    #[cfg(test)]
    pub fn chat_text(&self, record: &serde_json::Value) -> String {
        let (fields, raw) = (record.as_object().unwrap().clone(), record.to_string());
        let mut found = super::record_reader::RawRecord::new(fields, "record", "line", 1);
        found.raw = &raw;
        let conversation = Conversation::read(&found, super::chat::Style::Messages).unwrap();
        self.render(&conversation).unwrap().unwrap().0
    }

    /// The token ids of a rendered conversation; no special tokens are added to those of the template. Of more than
    /// `most` at least the first `most`.
    pub(super) fn encode_chat(&self, conversation: &Conversation, most: usize) -> Result<EncodedAnswers, DataError> {
        let (text, answers) = self.render(conversation)?.map_err(|reason| self.failed(reason))?;
        self.encode_spans(&text, &answers, false, most)
    }

    /// The token ids, and the tokens with a byte in an answer.
    fn encode_spans(
        &self,
        text: &str,
        answers: &[Range<usize>],
        special: bool,
        most: usize,
    ) -> Result<EncodedAnswers, DataError> {
        let encoding = self.encode_placed(self.long_enough_prefix(text, most)?, special)?;
        let mut spans: Vec<Range<usize>> = Vec::new();
        let mut first = 0;
        for (at, (start, end)) in encoding.get_offsets().iter().enumerate() {
            // Both are in order: an answer that ends before this token is finished.
            while answers.get(first).is_some_and(|answer| answer.end <= *start) {
                first += 1;
            }
            if !answers.get(first).is_some_and(|answer| *start < answer.end && *end > answer.start) {
                continue;
            }
            match spans.last_mut() {
                Some(span) if span.end == at => span.end += 1,
                _ => spans.push(at..at + 1),
            }
        }
        Ok(EncodedAnswers { tokens: encoding.get_ids().to_vec(), spans })
    }

    /// The text of token ids, without special tokens; ids that the vocabulary lacks are skipped.
    ///
    /// # Errors
    /// [`DataError::Tokenizer`] where the tokenizer's decoder fails.
    pub fn decode(&self, tokens: &[u32]) -> Result<String, DataError> {
        let decoded = catch_panic(|| self.inner.decode(tokens, true)).map_err(|reason| self.failed(reason))?;
        decoded.map_err(|error| self.failed(error.to_string()))
    }

    /// The tokens that end a generated text, by the model's configs and the tokenizer's.
    pub fn ends(&self) -> &[u32] {
        &self.ends
    }

    /// True where it has a chat template for conversations without tools.
    pub fn has_chat_template(&self) -> bool {
        self.templates.contains_key("default")
    }

    /// Number of tokens in the vocabulary, added ones included.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// The id of a token, by its content.
    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// Its name in errors: its file, or the name it was given.
    pub fn name(&self) -> &str {
        &self.name
    }
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "one span of several that there could be")]
pub(super) mod tests {
    use super::super::chat::talk;
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

    /// WordPieces between `[CLS]` and `[SEP]`, as BERT's.
    pub(in crate::data) fn enclosing() -> Tokenizer {
        let json = r###"{
            "version": "1.0", "truncation": {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0},
            "padding": null, "decoder": null,
            "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null,
                           "lowercase": true},
            "added_tokens": [{"id": 0, "content": "[CLS]", "single_word": false, "lstrip": false, "rstrip": false,
                              "normalized": false, "special": true},
                             {"id": 1, "content": "[SEP]", "single_word": false, "lstrip": false, "rstrip": false,
                              "normalized": false, "special": true}],
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 1], "cls": ["[CLS]", 0]},
            "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                "max_input_chars_per_word": 100,
                "vocab": {"[CLS]": 0, "[SEP]": 1, "to": 2, "be": 3, "or": 4, "not": 5, "##s": 6, "[UNK]": 7}}
        }"###;
        Tokenizer::from_bytes(json.as_bytes(), "enclosing").unwrap()
    }

    #[test]
    fn word_pieces_are_found_between_the_special_tokens() {
        assert_eq!(enclosing().encode("To BÉS, or").unwrap(), [0, 2, 3, 6, 7, 4, 1]);
        assert_eq!(enclosing().encode_with_ending("to be").unwrap(), (vec![0, 2, 3, 1], 1));
    }

    #[test]
    fn the_post_processor_adds_special_tokens_and_the_files_truncation_is_ignored() {
        assert_eq!(words().encode("to be or not to be").unwrap(), [0, 2, 3, 4, 5, 2, 3]);
        assert_eq!(words().vocab_size(), 6);
        assert_eq!(words().token_id("be"), Some(3));
        assert_eq!(words().decode(&[0, 2, 3]).unwrap(), "to be");
    }

    const TEMPLATE: &str = "{{ bos_token }} {% for m in messages %}{{ m.role }} {{ m.content }} or {% endfor %}\
                            {% if add_generation_prompt %}assistant {% endif %}";

    /// With `not` as the token that ends a text, and a chat template.
    pub(in crate::data) fn chatting(template: &str) -> Tokenizer {
        let named = [("bos_token", "<s>"), ("eos_token", "not")].map(|(name, token)| (name.into(), token.into()));
        let templates = [("default".to_owned(), template.to_owned())].into();
        words().with(SpecialTokens { named: named.into(), templates, ..SpecialTokens::default() }).unwrap()
    }

    fn ended(token: &str, end: Option<u32>) -> Tokenizer {
        let named = [("eos_token".to_owned(), token.to_owned())].into();
        words().with(SpecialTokens { named, end, ..SpecialTokens::default() }).unwrap()
    }

    #[test]
    fn an_answer_is_ended_by_the_token_that_is_named() {
        let answered = |tokenizer: &Tokenizer| tokenizer.encode_answer("to be or", 3..8, 9).unwrap();
        assert_eq!(answered(&words()), EncodedAnswers { tokens: vec![0, 2, 3, 4], spans: vec![2..4] });
        let ended_by_not = EncodedAnswers { tokens: vec![0, 2, 3, 4, 5], spans: vec![2..5] };
        assert_eq!(answered(&ended("not", None)), ended_by_not);
        assert_eq!(answered(&ended("</s>", Some(5))), ended_by_not);
        let straddles = words().encode_answer("to be", 4..5, 9).unwrap();
        assert_eq!(straddles.spans, [2..3]);
    }

    #[test]
    fn an_end_that_the_vocabulary_lacks_fails_answers_and_nothing_else() {
        for token in ["</s>", ""] {
            let tokenizer = ended(token, Some(99));
            assert_eq!(tokenizer.encode("to be").unwrap(), [0, 2, 3]);
            let error = tokenizer.encode_answer("to be", 3..5, 9).unwrap_err().to_string();
            assert!(error.contains(if token.is_empty() { "eos_token is empty" } else { "no token `</s>`" }), "{error}");
        }
    }

    #[test]
    fn a_conversation_is_encoded_as_the_chat_template_writes_it() {
        let turns = talk(&[("user", "to"), ("assistant", "be"), ("user", "to"), ("assistant", "not be")]);
        let answered = chatting(TEMPLATE).encode_chat(&turns, 99).unwrap();
        assert_eq!(answered.tokens, [0, 1, 2, 4, 1, 3, 4, 1, 2, 4, 1, 5, 3, 4]);
        assert_eq!(answered.spans, [5..7, 11..14]);
        let generated = "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% else %} {% generation %}{{ m.content }} \
                         {% endgeneration %}{% endif %}{% endfor %}";
        let answered = chatting(generated).encode_chat(&turns, 99).unwrap();
        assert_eq!(answered, EncodedAnswers { tokens: vec![2, 3, 2, 5, 3], spans: vec![1..2, 3..5] });
    }

    #[test]
    fn a_chat_template_that_is_missing_or_broken_is_an_error_where_it_is_used() {
        let conversation = talk(&[("user", "to"), ("assistant", "be")]);
        let error = |tokenizer: Tokenizer| {
            tokenizer.encode("to be").unwrap();
            tokenizer.encode_chat(&conversation, 99).unwrap_err().to_string()
        };
        assert!(error(words()).starts_with("tokenizer words: it has no chat template"), "{}", error(words()));
        let broken = error(chatting("{% for %}"));
        assert!(broken.starts_with("tokenizer words: its chat template cannot be read: syntax error"), "{broken}");
        let templates = [("tool_use".to_owned(), TEMPLATE.to_owned())].into();
        let unnamed = words().with(SpecialTokens { templates, ..SpecialTokens::default() }).unwrap();
        assert!(error(unnamed).ends_with("none of its chat templates is called default: it has tool_use"));
    }

    #[test]
    fn added_tokens_of_other_files_are_found_whole_and_named_ones_only_if_the_vocabulary_has_them() {
        let mut tokenizer = words();
        assert_eq!(tokenizer.encode("or<x>be").unwrap(), [0, 4, 1, 1, 1, 3]);
        let special = SpecialTokens {
            added: vec![special_tokens::AddedToken::of(6, "<x>")],
            others: vec!["or".into(), "<y>".into()],
            ..SpecialTokens::default()
        };
        tokenizer = tokenizer.with(special).unwrap();
        assert_eq!(tokenizer.encode("or<x>be").unwrap(), [0, 4, 6, 3]);
        assert_eq!((tokenizer.vocab_size(), tokenizer.token_id("<y>")), (7, None));
    }

    #[test]
    fn a_parser_that_panics_is_an_error() {
        let cut = r#"{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
            "pre_tokenizer": null, "model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}, "post_processor":
            {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<z>", "type_id": 0}}], "pair": [],
            "special_tokens": {}}, "decoder": {"type":"#;
        assert!(Tokenizer::from_bytes(cut.as_bytes(), "cut").is_err());
        let undefined = format!("{} null}}", cut.trim_end_matches("{\"type\":"));
        let error = Tokenizer::from_bytes(undefined.as_bytes(), "undefined").unwrap_err().to_string();
        assert!(error.starts_with("tokenizer undefined: "), "{error}");
    }

    #[test]
    fn a_tokenizer_that_cannot_be_read_is_named() {
        let error = Tokenizer::from_bytes(b"{}", "bundled").unwrap_err().to_string();
        assert!(error.starts_with("tokenizer bundled: "), "{error}");
        let error = Tokenizer::from_file(Path::new("/nowhere/tokenizer.json")).unwrap_err().to_string();
        assert!(error.starts_with("tokenizer /nowhere/tokenizer.json: "), "{error}");
    }
}
