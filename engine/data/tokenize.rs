//! Text in, token sequences out, as `tokenizer.json` and its post-processor say. The only file that names `tokenizers`.

use std::path::Path;

use super::{DataError, LongRecords, Record};

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

/// One training or evaluation example: position `i` predicts token `i + 1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    /// Token ids, at least 2 and at most `data.max_tokens`.
    pub tokens: Vec<u32>,
    /// The first position whose token counts in the loss as predicted; 0 and 1 mean all (position 0 is never predicted).
    pub loss_from: usize,
}

/// Makes sequences of records, in their order. A record longer than `max_tokens` becomes consecutive windows that do not
/// overlap, or is cut; a window or record of fewer than 2 tokens has nothing to predict and is left out.
/// No packing: a sequence never holds tokens of two records.
///
/// # Errors
/// [`DataError::Tokenizer`] where a text cannot be encoded.
pub fn tokenize<'a>(
    tokenizer: &Tokenizer,
    records: impl IntoIterator<Item = &'a Record>,
    max_tokens: usize,
    long: LongRecords,
) -> Result<Vec<Sequence>, DataError> {
    let mut sequences = Vec::new();
    for record in records {
        let tokens = tokenizer.encode(&record.text)?;
        match long {
            LongRecords::Split => tokens.chunks(max_tokens.max(2)).for_each(|window| push(&mut sequences, window)),
            LongRecords::Truncate => push(&mut sequences, &tokens[..tokens.len().min(max_tokens)]),
        }
    }
    Ok(sequences)
}

fn push(sequences: &mut Vec<Sequence>, tokens: &[u32]) {
    if tokens.len() >= 2 {
        sequences.push(Sequence { tokens: tokens.to_vec(), loss_from: 0 });
    }
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
        Record { text: text.into(), label: None, natural_id: None }
    }

    fn tokens(texts: &[&str], max_tokens: usize, long: LongRecords) -> Vec<Vec<u32>> {
        let records: Vec<_> = texts.iter().map(|text| record(text)).collect();
        let sequences = tokenize(&words(), &records, max_tokens, long).unwrap();
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
    fn a_tokenizer_that_cannot_be_read_is_named() {
        let error = Tokenizer::from_bytes(b"{}", "bundled").unwrap_err().to_string();
        assert!(error.starts_with("tokenizer bundled: "), "{error}");
        let error = Tokenizer::from_file(Path::new("/nowhere/tokenizer.json")).unwrap_err().to_string();
        assert!(error.starts_with("tokenizer /nowhere/tokenizer.json: "), "{error}");
    }
}
