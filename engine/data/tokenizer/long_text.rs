//! Tokenization of long texts: a prefix with as many tokens as are needed, or all tokens, a piece of text at a time.
//!
//! Tokens depend on the text around them. So a text is cut at a blank, the piece is encoded, and the tokens near the
//! cut are dropped; the tokens of two overlapping pieces must agree. Where they do not, the whole text is encoded.

use super::{DataError, Tokenizer};

/// Tokens before a cut that are dropped.
const MARGIN: usize = 64;

/// Bytes of the first piece for each needed token.
const BYTES: usize = 8;

/// Texts up to this size are encoded at once.
const SMALL: usize = 1 << 16;

/// Bytes of a piece, and of the overlap of two.
const PIECE: usize = 1 << 18;
const OVERLAP: usize = 1 << 12;

/// Tokens in a row that must be the same in both pieces.
const AGREE: usize = 32;

impl Tokenizer {
    /// A prefix of a text whose first `most` tokens are those of the whole text; all of it unless it is long.
    pub(in crate::data) fn long_enough_prefix<'a>(&self, text: &'a str, most: usize) -> Result<&'a str, DataError> {
        let mut size = most.saturating_add(MARGIN).saturating_mul(BYTES).max(SMALL / 4);
        let first = |size| self.first(&text[..cut(text, size)], most);
        while text.len() / 4 > size {
            let (short, long) = (first(size)?, first(2 * size)?);
            if let (Some(short), Some(long)) = (short, long)
                && short == long
            {
                return Ok(&text[..cut(text, size)]);
            }
            size *= 4;
        }
        Ok(text)
    }

    /// The first `most` tokens, where there are enough tokens behind them.
    fn first(&self, text: &str, most: usize) -> Result<Option<Vec<u32>>, DataError> {
        let mut tokens = self.encode(text)?;
        let enough = tokens.len() >= most.saturating_add(MARGIN);
        tokens.truncate(most);
        Ok(enough.then_some(tokens))
    }

    /// The token ids of a text as of [`Self::encode`], in memory for a piece of it at a time.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub(in crate::data) fn encode_long(&self, text: &str) -> Result<Vec<u32>, DataError> {
        if text.len() <= 2 * PIECE {
            return self.encode(text);
        }
        match self.pieces(text)? {
            Some(tokens) => Ok(tokens),
            None => self.encode(text),
        }
    }

    /// The token ids by pieces; none where two pieces do not agree.
    fn pieces(&self, text: &str) -> Result<Option<Vec<u32>>, DataError> {
        let (mut tokens, last) = self.surrounding_special_tokens()?;
        // The tokens behind the last position where pieces met, with their ranges in the whole text.
        let mut open = self.encode_range(text, 0, cut(text, PIECE))?;
        let mut end = cut(text, PIECE);
        while end < text.len() {
            let start = cut(text, end - OVERLAP);
            let next_end = if text.len() - end <= PIECE { text.len() } else { cut(text, end + PIECE) };
            if next_end <= end || start >= end {
                return Ok(None);
            }
            let next = self.encode_range(text, start, next_end)?;
            let Some((here, there)) = meeting_point(&open, &next) else { return Ok(None) };
            tokens.extend(open[..here].iter().map(|(id, ..)| *id));
            open = next[there..].to_vec();
            end = next_end;
        }
        tokens.extend(open.iter().map(|(id, ..)| *id));
        tokens.extend(last);
        Ok(Some(tokens))
    }

    /// The special tokens that the post-processor puts before a text, and those behind it.
    fn surrounding_special_tokens(&self) -> Result<(Vec<u32>, Vec<u32>), DataError> {
        let sample = self.encode_placed("a", true)?;
        let special: Vec<(u32, bool)> = sample
            .get_ids()
            .iter()
            .copied()
            .zip(sample.get_special_tokens_mask().iter().map(|mask| *mask == 1))
            .collect();
        let before = special.iter().take_while(|(_, special)| *special).count();
        let behind = special.iter().rev().take_while(|(_, special)| *special).count().min(special.len() - before);
        let ids = |tokens: &[(u32, bool)]| tokens.iter().map(|(id, _)| *id).collect();
        Ok((ids(&special[..before]), ids(&special[special.len() - behind..])))
    }

    fn encode_range(&self, text: &str, start: usize, end: usize) -> Result<Vec<PlacedToken>, DataError> {
        let encoding = self.encode_placed(&text[start..end], false)?;
        let places = encoding.get_offsets().iter().map(|(first, last)| (start + first, start + last));
        Ok(encoding.get_ids().iter().zip(places).map(|(id, (first, last))| (*id, first, last)).collect())
    }
}

/// A token with its byte range in the text.
type PlacedToken = (u32, usize, usize);

/// The position in both pieces where their tokens are the same for a while, far from both cuts.
fn meeting_point(piece: &[PlacedToken], next: &[PlacedToken]) -> Option<(usize, usize)> {
    let there = next.len().min(MARGIN);
    let (_, start, _) = *next.get(there)?;
    let mut here = piece.partition_point(|(_, first, _)| *first < start);
    for there in there..next.len() {
        let (_, start, _) = next[there];
        while here < piece.len() && piece[here].1 < start {
            here += 1;
        }
        if here + AGREE + MARGIN > piece.len() {
            return None;
        }
        if next.len() >= there + AGREE && piece[here..here + AGREE] == next[there..there + AGREE] {
            return Some((here, there));
        }
    }
    None
}

/// The last position up to `most` where a word ends and a blank follows; where there is none nearby, any character
/// boundary.
fn cut(text: &str, most: usize) -> usize {
    if most >= text.len() {
        return text.len();
    }
    let bytes = text.as_bytes();
    let blank = |at: &usize| matches!(bytes[*at], b' ' | b'\n') && !bytes[*at - 1].is_ascii_whitespace();
    (most.saturating_sub(1024).max(1)..=most).rev().find(blank).unwrap_or_else(|| text.floor_char_boundary(most))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Letters and pairs of them, no pre-tokenizer: as Llama's, merges are looked for in all of the text.
    fn pairs() -> Tokenizer {
        let json = r#"{"version": "1.0", "truncation": null, "padding": null,
            "added_tokens": [{"id": 0, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false,
                              "normalized": false, "special": true}],
            "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "_"},
                           {"type": "Replace", "pattern": {"String": " "}, "content": "_"}]},
            "pre_tokenizer": null, "decoder": null,
            "post_processor": {"type": "TemplateProcessing",
                "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                           {"SpecialToken": {"id": "<s>", "type_id": 0}}],
                "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
                "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}}},
            "model": {"type": "BPE", "dropout": null, "unk_token": "?", "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
                "vocab": {"<s>": 0, "?": 1, "_": 2, "a": 3, "b": 4, "c": 5, "ab": 6, "_a": 7, "_ab": 8, "ca": 9},
                "merges": [["a", "b"], ["_", "a"], ["_", "ab"], ["c", "a"]]}}"#;
        Tokenizer::from_bytes(json.as_bytes(), "pairs").unwrap()
    }

    /// Words that never come in the same order for long.
    fn text(bytes: usize) -> String {
        let mut text = String::new();
        let mut state = 7u32;
        while text.len() < bytes {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            for bit in 0..1 + (state >> 8) % 7 {
                text.push(['a', 'b', 'c', 'é'][(state >> (10 + 2 * bit)) as usize % 4]);
            }
            text.push(if state.is_multiple_of(50) { '\n' } else { ' ' });
        }
        text
    }

    #[test]
    fn the_first_tokens_of_a_long_text_are_those_of_all_of_it() {
        let (tokenizer, text) = (pairs(), text(400_000));
        let whole = tokenizer.encode(&text).unwrap();
        for most in [2, 128, 5000] {
            let beginning = tokenizer.long_enough_prefix(&text, most).unwrap();
            assert!(beginning.len() < text.len() / 2, "{most}: {}", beginning.len());
            assert_eq!(tokenizer.encode(beginning).unwrap()[..most], whole[..most]);
        }
        assert_eq!(tokenizer.long_enough_prefix(&text, 100_000).unwrap().len(), text.len());
    }

    #[test]
    fn a_long_text_in_pieces_has_the_tokens_of_the_whole() {
        let (tokenizer, text) = (pairs(), text(4 * PIECE + 77));
        let pieces = tokenizer.pieces(&text).unwrap().unwrap();
        assert_eq!(pieces, tokenizer.encode(&text).unwrap());
        assert_eq!(tokenizer.encode_long(&text[..1000]).unwrap(), tokenizer.encode(&text[..1000]).unwrap());
    }

    #[test]
    fn a_long_text_without_a_blank_is_cut_between_letters() {
        let text = "?".repeat(3 * PIECE);
        assert_eq!(pairs().encode_long(&text).unwrap().len(), text.len() + 3);
    }
}
