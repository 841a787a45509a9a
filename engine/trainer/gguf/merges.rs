//! The merges of a vocabulary that has none: tokens with scores in, the pairs of tokens that make up another one out,
//! best first, as `transformers` derives them.

use std::collections::HashMap;

/// The longest token that is cut into pairs, in characters.
const LONGEST: usize = 256;

/// All pairs of tokens whose texts together are a token's.
///
/// # Errors
/// A token that is longer than any real one, or a score that is no number.
pub(super) fn derive<'a>(tokens: &[&'a str], scores: &[f32]) -> Result<Vec<(&'a str, &'a str)>, String> {
    let ids: HashMap<&str, usize> = tokens.iter().enumerate().map(|(id, token)| (*token, id)).collect();
    let mut merges = Vec::new();
    for (id, (token, score)) in tokens.iter().zip(scores).enumerate() {
        if score.is_nan() {
            return Err(format!("key tokenizer.ggml.scores: value {id} is {score}, but only numbers are supported"));
        }
        let length = token.chars().count();
        if length > LONGEST {
            return Err(format!(
                "key tokenizer.ggml.tokens: value {id} has {length} characters, but only {LONGEST} are supported without \
                 tokenizer.ggml.merges"
            ));
        }
        let ends = token.char_indices().map(|(at, _)| at).enumerate().skip(1);
        let pairs = ends.filter_map(|(count, at)| {
            let (left, right) = token.split_at(at);
            let numbers = (*ids.get(left)?, *ids.get(right)?);
            Some((numbers, (*score, count, length - count), (left, right)))
        });
        let mut pairs: Vec<_> = pairs.collect();
        pairs.sort_by_key(|(numbers, ..)| *numbers);
        merges.extend(pairs.into_iter().map(|(_, rank, pair)| (rank, pair)));
    }
    // Of pairs of one rank the order stays.
    merges.sort_by(|((score, left, right), _), (other, _)| {
        other.0.total_cmp(score).then((other.1, other.2).cmp(&(*left, *right)))
    });
    Ok(merges.into_iter().map(|(_, pair)| pair).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_token_is_put_together_first() {
        let tokens = ["a", "b", "ab", "aab", "aa", "é", "éa"];
        let merges = derive(&tokens, &[0.0, 0.0, -1.0, -2.0, -1.0, 0.0, -0.5]).unwrap();
        assert_eq!(merges, [("é", "a"), ("a", "b"), ("a", "a"), ("aa", "b"), ("a", "ab")]);
        assert!(derive(&["x"], &[f32::NAN]).unwrap_err().contains("value 0 is NaN"));
        let long = "x".repeat(257);
        assert!(derive(&["x", &long], &[0.0, 0.0]).unwrap_err().contains("value 1 has 257 characters"));
    }
}
