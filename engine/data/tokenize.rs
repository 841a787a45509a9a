//! Text in, token sequences out, as `tokenizer.json` and its post-processor say. The only file that names `tokenizers`.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::{Config, DataError, Image, LongRecords, Record, Task};

/// A Hugging Face tokenizer. Shared by reference from any thread.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    name: String,
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
        Ok(Self { inner, name })
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

/// One training or evaluation example.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    /// Token ids, at most `data.max_tokens`, and at least 2 where the next one is to be predicted; none of an image.
    pub tokens: Vec<u32>,
    /// What it is to teach.
    pub goal: Goal,
    /// The picture, where the record is one.
    pub image: Option<Arc<Image>>,
}

/// What a sequence is to teach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Goal {
    /// Every token from this position on is predicted from those before it; 0 and 1 mean all (position 0 is never
    /// predicted).
    From(usize),
    /// Tokens at these positions (sorted, disjoint) are predicted: the answers of a conversation.
    Spans(Vec<Range<usize>>),
    /// The whole sequence belongs to this class.
    Class(u32),
}

impl Sequence {
    /// Positions whose tokens are to be predicted, ascending; none where the goal is a class.
    pub fn predicted(&self) -> impl Iterator<Item = usize> + '_ {
        let count = self.tokens.len();
        let (from, spans): (_, &[Range<usize>]) = match &self.goal {
            Goal::From(first) => (*first..count, &[]),
            Goal::Spans(spans) => (0..0, spans),
            Goal::Class(_) => (0..0, &[]),
        };
        std::iter::once(from).chain(spans.iter().cloned()).flat_map(move |span| span.start.max(1)..span.end.min(count))
    }

    /// Whether there is something to learn from it: a token to predict, or a class.
    pub fn teaches(&self) -> bool {
        match self.goal {
            Goal::Class(_) => !self.tokens.is_empty() || self.image.is_some(),
            _ => self.predicted().next().is_some(),
        }
    }
}

/// Makes sequences of records, in their order; of `config` the keys `task`, `max_tokens` and `long` count.
///
/// A record longer than `max_tokens` becomes consecutive windows that do not overlap, or is cut; where the task is
/// classification it is always cut. What has nothing to predict is left out. No packing: a sequence never holds tokens of
/// two records.
///
/// # Errors
/// [`DataError::Tokenizer`] where a text cannot be encoded.
pub fn tokenize<'a>(
    tokenizer: &Tokenizer,
    records: impl IntoIterator<Item = &'a Record>,
    config: &Config,
) -> Result<Vec<Sequence>, DataError> {
    let mut sequences = Vec::new();
    for record in records {
        let tokens = tokenizer.encode(&record.text)?;
        let goal = record.class.map_or(Goal::From(0), Goal::Class);
        let windows = match (config.task, config.long) {
            (Task::Text, LongRecords::Split) => tokens.chunks(config.max_tokens.max(2)),
            _ => tokens[..tokens.len().min(config.max_tokens)].chunks(usize::MAX),
        };
        let made = windows.map(|window| Sequence { tokens: window.to_vec(), goal: goal.clone(), image: None });
        sequences.extend(made.filter(Sequence::teaches));
    }
    Ok(sequences)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words of a tiny vocabulary, `<s>` in front, as Llama's post-processor does.
    fn words() -> Tokenizer {
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

    fn record(text: &str) -> Record {
        Record { text: text.into(), label: None, natural_id: None, class: None }
    }

    fn tokens(texts: &[&str], max_tokens: usize, long: LongRecords) -> Vec<Vec<u32>> {
        let records: Vec<_> = texts.iter().map(|text| record(text)).collect();
        let config = Config { max_tokens, long, ..Config::default() };
        let sequences = tokenize(&words(), &records, &config).unwrap();
        sequences.into_iter().map(|sequence| sequence.tokens).collect()
    }

    #[test]
    fn the_post_processor_adds_special_tokens_and_the_files_truncation_is_ignored() {
        assert_eq!(words().encode("to be or not to be").unwrap(), [0, 2, 3, 4, 5, 2, 3]);
        assert_eq!(words().vocab_size(), 6);
        assert_eq!(words().token_id("be"), Some(3));
        assert_eq!(words().decode(&[0, 2, 3]).unwrap(), "to be");
    }

    #[test]
    fn a_long_record_becomes_windows_or_is_cut() {
        assert_eq!(tokens(&["to be or not"], 3, LongRecords::Split), [vec![0, 2, 3], vec![4, 5]]);
        assert_eq!(tokens(&["to be or not"], 3, LongRecords::Truncate), [vec![0, 2, 3]]);
    }

    #[test]
    fn what_has_nothing_to_predict_is_left_out_and_records_are_never_packed() {
        assert_eq!(
            tokens(&["to be or not to be", "", "or"], 3, LongRecords::Split),
            [vec![0, 2, 3], vec![4, 5, 2], vec![0, 4]]
        );
    }

    #[test]
    fn a_record_of_a_class_is_one_sequence_and_always_cut() {
        let records = [Record { class: Some(3), ..record("to be or not") }, Record { class: Some(0), ..record("") }];
        let config = Config { task: Task::Classification, max_tokens: 3, ..Config::default() };
        let sequences = tokenize(&words(), &records, &config).unwrap();
        let found: Vec<_> = sequences.into_iter().map(|sequence| (sequence.tokens, sequence.goal)).collect();
        assert_eq!(found, [(vec![0, 2, 3], Goal::Class(3)), (vec![0], Goal::Class(0))]);
    }

    #[test]
    fn what_is_predicted_follows_the_goal_and_is_never_the_first_token() {
        let predicted = |goal| {
            let sequence = Sequence { tokens: vec![0, 2, 3, 4, 5], goal, image: None };
            (sequence.predicted().collect::<Vec<_>>(), sequence.teaches())
        };
        assert_eq!(predicted(Goal::From(0)), (vec![1, 2, 3, 4], true));
        assert_eq!(predicted(Goal::From(3)), (vec![3, 4], true));
        assert_eq!(predicted(Goal::From(5)), (vec![], false));
        assert_eq!(predicted(Goal::Spans(vec![0..2, 4..9])), (vec![1, 4], true));
        assert_eq!(predicted(Goal::Spans(vec![0..1, 7..9])), (vec![], false));
        assert_eq!(predicted(Goal::Class(7)), (vec![], true));
    }

    #[test]
    fn a_tokenizer_that_cannot_be_read_is_named() {
        let error = Tokenizer::from_bytes(b"{}", "bundled").unwrap_err().to_string();
        assert!(error.starts_with("tokenizer bundled: "), "{error}");
        let error = Tokenizer::from_file(Path::new("/nowhere/tokenizer.json")).unwrap_err().to_string();
        assert!(error.starts_with("tokenizer /nowhere/tokenizer.json: "), "{error}");
    }
}
