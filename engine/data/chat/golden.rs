//! Templates of every construct against the output of `transformers`; tests/golden/chat.py wrote the fixture.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::Value;

use super::super::record_reader::RawRecord;
use super::template::{ChatTemplate, Steps, Turns};
use super::{Conversation, Style};

const FIXTURE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/chat/templates.json"));

/// Cases that are refused here though `transformers` renders them, each with a part of the message. Nothing else
/// differs.
const REFUSED: [(&str, &str); 5] = [
    ("rarest string methods", "has no method named expandtabs"),
    ("percent", "% operator on unsupported types"),
    ("format, repr", "format"),
    ("rare filters", "unknown filter: filter truncate is unknown"),
    ("macros, more arguments", "too many arguments"),
];

/// Cases in which minijinja differs: it slices undefined values, and takes the default of a macro's parameter for an
/// undefined argument too.
const OTHERWISE: [(&str, &str); 3] =
    [("generation, scope", "tools"), ("macros, plain", "no content"), ("macros, plain", "tools")];

/// A conversation is text in the fixture, so that its keys keep their order.
fn conversations(fixture: &Value) -> BTreeMap<&str, Conversation> {
    let read = |raw: &str| {
        let fields = serde_json::from_str(raw).unwrap();
        let mut found = RawRecord::new(fields, "fixture", "line", 1);
        found.raw = raw;
        Conversation::read(&found, Style::Messages).unwrap()
    };
    let talks = fixture["conversations"].as_object().unwrap();
    talks.iter().map(|(name, raw)| (name.as_str(), read(raw.as_str().unwrap()))).collect()
}

/// Byte ranges of ranges of characters, which Python counts.
fn bytes(text: &str, spans: &Value) -> Vec<Range<usize>> {
    let at = |letters: &Value| {
        let letters = letters.as_u64().unwrap() as usize;
        text.char_indices().nth(letters).map_or(text.len(), |(at, _)| at)
    };
    let spans = spans.as_array().unwrap().iter().map(|span| at(&span[0])..at(&span[1]));
    spans.filter(|span| !span.is_empty()).collect()
}

#[test]
fn templates_give_what_transformers_gives() {
    let fixture: Value = serde_json::from_str(FIXTURE).unwrap();
    let conversations = conversations(&fixture);
    let tokens = [("bos_token", "<s>"), ("eos_token", "</s>"), ("pad_token", "<pad>"), ("image_token", "<img>")];
    let tokens: BTreeMap<String, String> = tokens.map(|(name, token)| (name.into(), token.into())).into();
    let mut wrong = String::new();
    let mut compared = 0;
    for (name, case) in fixture["templates"].as_object().unwrap() {
        let parsed = ChatTemplate::parse(case["template"].as_str().unwrap(), tokens.clone());
        for (talk, conversation) in &conversations {
            let expected = &case["results"][talk];
            let turns = Turns::new(conversation);
            let of = |prompt| {
                let template = parsed.as_ref().map_err(String::clone)?;
                template.text(&turns, turns.count(), prompt, &Steps::of_a_record())
            };
            let found = of(false);
            compared += 1;
            if OTHERWISE.contains(&(name.as_str(), talk)) {
                continue;
            }
            let same = match (&found, expected["text"].as_str()) {
                (Ok(found), Some(text)) => found == text,
                (Err(error), Some(_)) => REFUSED.iter().any(|(of, part)| name == of && error.contains(part)),
                (found, None) => found.is_err(),
            };
            if !same {
                wrong += &format!("{name} / {talk}\n  found    {found:?}\n  expected {expected}\n");
                continue;
            }
            if let Some(text) = expected["prompted"].as_str() {
                assert_eq!(of(true).as_deref(), Ok(text), "{name} / {talk}");
            }
            if !expected["spans"].is_null() {
                let (text, spans) = parsed.as_ref().unwrap().render(conversation).unwrap();
                assert_eq!(spans, bytes(&text, &expected["spans"]), "{name} / {talk}: {text}");
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(compared > 500, "{compared}");
}
