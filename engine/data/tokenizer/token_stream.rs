//! Text of tokens that come one by one: a piece is given out once no later token can change it.

use super::super::DataError;
use super::Tokenizer;

/// Tokens before the new ones that are decoded with them: a decoder may treat the first token of a text in another way,
/// and a letter may have several.
const CONTEXT: usize = 8;

/// The letter that stands for bytes that are no text yet.
const INCOMPLETE: char = '\u{fffd}';

/// The text of a growing list of tokens.
pub struct TokenStream<'a> {
    tokenizer: &'a Tokenizer,
    tokens: Vec<u32>,
    /// The first token that is decoded.
    first: usize,
    /// Tokens whose text was given out.
    given: usize,
}

impl Tokenizer {
    /// A stream of the text after `prompt`.
    pub fn stream(&self, prompt: &[u32]) -> TokenStream<'_> {
        let tokens = prompt[prompt.len().saturating_sub(CONTEXT)..].to_vec();
        TokenStream { tokenizer: self, first: 0, given: tokens.len(), tokens }
    }
}

impl TokenStream<'_> {
    /// The text that a further token completes; empty where it is not complete yet.
    ///
    /// # Errors
    /// As [`Tokenizer::decode`].
    pub fn push(&mut self, token: u32) -> Result<String, DataError> {
        self.tokens.push(token);
        let new = self.pending()?;
        if new.is_empty() || new.ends_with(INCOMPLETE) {
            return Ok(String::new());
        }
        self.first = self.given;
        self.given = self.tokens.len();
        Ok(new)
    }

    /// The text that was not given out, complete or not.
    ///
    /// # Errors
    /// As [`Tokenizer::decode`].
    pub fn finish(self) -> Result<String, DataError> {
        self.pending()
    }

    fn pending(&self) -> Result<String, DataError> {
        let known = self.tokenizer.decode(&self.tokens[self.first..self.given])?;
        let all = self.tokenizer.decode(&self.tokens[self.first..])?;
        Ok(all.strip_prefix(&known).map_or(String::new(), str::to_owned))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::words;
    use super::*;

    #[test]
    fn the_pieces_are_the_text_after_the_prompt() {
        let tokenizer = words();
        let mut stream = tokenizer.stream(&[0, 2, 3]);
        let pieces: Vec<String> = [4, 5, 2].into_iter().map(|token| stream.push(token).unwrap()).collect();
        assert_eq!(pieces, [" or", " not", " to"]);
        assert_eq!(stream.finish().unwrap(), "");
    }

    #[test]
    fn bytes_of_a_letter_come_together() {
        let json = r#"{"version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null,
            "added_tokens": [], "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": true},
            "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": true},
            "model": {"type": "BPE", "vocab": {"a": 0, "Ã": 1, "©": 2, "Ġ": 3}, "merges": []}}"#;
        let tokenizer = Tokenizer::from_bytes(json.as_bytes(), "bytes").unwrap();
        let mut stream = tokenizer.stream(&[0]);
        let pieces: Vec<String> = [3, 1, 2, 0, 1].into_iter().map(|token| stream.push(token).unwrap()).collect();
        assert_eq!(pieces, [" ", "", "é", "a", ""]);
        assert_eq!(stream.finish().unwrap(), "\u{fffd}");
    }
}
