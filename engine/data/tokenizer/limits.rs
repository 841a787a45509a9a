//! Limits of tokenizers: the content of a `tokenizer.json` in; an error out where its rules would make very long text
//! of short.

use fancy_regex::Regex;
use serde::Deserialize;
use serde_json::Value;

/// The parts of a tokenizer that have rules.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Parts {
    normalizer: Value,
    pre_tokenizer: Value,
    decoder: Value,
}

/// Bytes that a normalizer may make of one.
const GROWTH: usize = 4096;

/// A rule that replaces a pattern.
struct Rule<'a> {
    pattern: Pattern<'a>,
    content: &'a str,
}

enum Pattern<'a> {
    Text(&'a str),
    Regex(Option<Regex>),
}

/// Checks the rules of a tokenizer before it is made. Text that is no JSON is left to the parser.
///
/// # Errors
/// A pattern that is empty, and normalizers that make more than [`GROWTH`] bytes of one.
pub(super) fn check(bytes: &[u8]) -> Result<(), String> {
    let Ok(Parts { normalizer, pre_tokenizer, decoder }) = serde_json::from_slice(bytes) else { return Ok(()) };
    for (part, value) in [("normalizer", normalizer), ("pre_tokenizer", pre_tokenizer), ("decoder", decoder)] {
        let mut rules = Vec::new();
        collect(&value, part, &mut rules)?;
        let most = growth(&rules);
        if most > GROWTH {
            return Err(format!("its {part} makes up to {most} bytes of one, the limit is {GROWTH}"));
        }
    }
    Ok(())
}

fn collect<'a>(value: &'a Value, part: &str, rules: &mut Vec<Rule<'a>>) -> Result<(), String> {
    if let Some(pattern) = value.get("pattern") {
        let text = |key: &str| pattern.get(key).and_then(Value::as_str);
        let read = match (text("String"), text("Regex")) {
            (Some(""), _) | (_, Some("")) => {
                let kind = value.get("type").and_then(Value::as_str).unwrap_or("rule");
                return Err(format!("its {part} has a {kind} with an empty pattern"));
            }
            (Some(text), _) => Some(Pattern::Text(text)),
            (_, Some(regex)) => Some(Pattern::Regex(Regex::new(regex).ok())),
            _ => None,
        };
        if let (Some(pattern), Some(content)) = (read, value.get("content").and_then(Value::as_str)) {
            rules.push(Rule { pattern, content });
        }
    }
    let inside = match value {
        Value::Object(fields) => fields.values().collect(),
        Value::Array(list) => list.iter().collect(),
        _ => Vec::new(),
    };
    inside.into_iter().try_for_each(|value| collect(value, part, rules))
}

/// The bytes that rules, one after the other, make of one: a later rule may match the output of an earlier one.
fn growth(rules: &[Rule<'_>]) -> usize {
    let mut most = vec![1usize; rules.len()];
    for (at, rule) in rules.iter().enumerate().rev() {
        let own = match rule.pattern {
            Pattern::Text(text) => rule.content.len().div_ceil(text.len()),
            Pattern::Regex(_) => rule.content.len(),
        };
        let later = rules.iter().zip(&most).skip(at + 1).filter(|(later, _)| later.finds(rule.content));
        most[at] = own.max(1).saturating_mul(later.map(|(_, most)| *most).max().unwrap_or(1));
    }
    most.into_iter().max().unwrap_or(1)
}

impl Rule<'_> {
    fn finds(&self, text: &str) -> bool {
        match &self.pattern {
            Pattern::Text(pattern) => text.contains(pattern),
            Pattern::Regex(Some(regex)) => regex.is_match(text).unwrap_or(true),
            Pattern::Regex(None) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(normalizers: Value) -> Result<(), String> {
        let file = json!({"normalizer": {"type": "Sequence", "normalizers": normalizers}});
        super::check(file.to_string().as_bytes())
    }

    fn replace(pattern: &str, content: &str) -> Value {
        json!({"type": "Replace", "pattern": {"String": pattern}, "content": content})
    }

    #[test]
    fn an_empty_pattern_is_refused_by_the_name_of_its_rule() {
        assert_eq!(check(json!([replace("", "x")])).unwrap_err(), "its normalizer has a Replace with an empty pattern");
        let split = json!({"pre_tokenizer": {"type": "Split", "pattern": {"Regex": ""}, "behavior": "Isolated"}});
        let error = super::check(split.to_string().as_bytes()).unwrap_err();
        assert_eq!(error, "its pre_tokenizer has a Split with an empty pattern");
    }

    #[test]
    fn rules_that_feed_each_other_are_refused_and_those_of_real_tokenizers_are_not() {
        let doubling: Vec<Value> = std::iter::repeat_n(replace("a", "aa"), 20).collect();
        let error = check(json!(doubling)).unwrap_err();
        assert_eq!(error, "its normalizer makes up to 1048576 bytes of one, the limit is 4096");
        assert!(check(json!([replace("a", &"b".repeat(5000))])).is_err());
        let marks: Vec<Value> = ["½", "¼", "¾", "…", "№"].iter().map(|mark| replace(mark, " x/y ")).collect();
        check(json!([marks, {"type": "Prepend", "prepend": "▁"}, replace(" ", "▁")])).unwrap();
        let regex = json!({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "});
        check(json!([regex, {"type": "NFC"}])).unwrap();
        super::check(b"no json").unwrap();
    }
}
