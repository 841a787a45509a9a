//! A chat template: its source in; the text that `transformers` would render of a conversation out, within limits of
//! steps and bytes. Beside this file `python.rs`, `methods.rs`, `to_json.rs` and `writing.rs` name `minijinja`.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Range;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, ErrorKind, Value};

use super::conversation::Conversation;
use super::ordered_json::{Fields, Json};
use super::{generation_tags, python_functions};
use crate::data::panic_guard::catch_panic;

/// Steps of one rendering, at most. A step is one instruction, 64 bytes that are made, or two elements that are
/// iterated.
const STEPS: u64 = 4_000_000;

/// Steps of all renderings of one record, at most.
const STEPS_OF_A_RECORD: u64 = 10 * STEPS;

/// Bytes of a rendered text, at most.
const BYTES: usize = 64 << 20;

/// Markers: Unicode noncharacters, which no text has. The first two enclose generated text, the third is searched for.
pub(super) const OPEN: char = '\u{fdd0}';
pub(super) const CLOSE: char = '\u{fdd1}';
pub(super) const MARK: char = '\u{fdd2}';

/// The template's name in minijinja's environment.
const NAME: &str = "chat_template";

/// A chat template.
pub(in crate::data) struct ChatTemplate {
    plain: Environment<'static>,
    /// The same template with [`OPEN`] and [`CLOSE`] around generated text; none where it has no `generation` tags.
    marking: Option<Environment<'static>>,
    /// Special tokens by name, `bos_token` and the like, from the tokenizer's config.
    tokens: BTreeMap<String, String>,
}

/// The steps that the renderings of a record have left.
pub(super) struct Steps(Cell<u64>);

impl Steps {
    pub(super) fn of_a_record() -> Self {
        Self(Cell::new(STEPS_OF_A_RECORD))
    }
}

/// The turns of a conversation as minijinja values; a prefix of them is free.
pub(super) struct Turns {
    turns: Vec<Value>,
    tools: Value,
}

impl Turns {
    pub(super) fn new(conversation: &Conversation) -> Self {
        let tools = conversation.tools.as_ref().map_or(Value::from(()), value);
        Self { turns: conversation.turns.iter().map(object).collect(), tools }
    }

    /// The same turns with one replaced.
    pub(super) fn with(&self, number: usize, turn: &Fields) -> Self {
        let mut turns = self.turns.clone();
        turns[number] = object(turn);
        Self { turns, tools: self.tools.clone() }
    }

    pub(super) fn count(&self) -> usize {
        self.turns.len()
    }
}

fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::from(()),
        Json::Bool(value) => Value::from(*value),
        Json::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => Value::from(number),
            (None, Some(number)) => Value::from(number),
            (None, None) => Value::from(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::Text(text) => Value::from(text.as_str()),
        Json::List(list) => list.iter().map(value).collect(),
        Json::Object(fields) => object(fields),
    }
}

fn object(fields: &Fields) -> Value {
    Value::from_pairs(fields.iter().map(|(key, json)| (key.as_str(), value(json))))
}

impl ChatTemplate {
    /// Parses a template as `transformers` would, with the special tokens that it may name.
    ///
    /// # Errors
    /// A message where the template does not parse.
    pub(in crate::data) fn parse(source: &str, tokens: BTreeMap<String, String>) -> Result<Self, String> {
        catch_panic(|| {
            let plain = generation_tags::rewrite(source, "", "");
            let marking = generation_tags::rewrite(source, &OPEN.to_string(), &CLOSE.to_string());
            Ok(Self {
                plain: environment(plain.unwrap_or_else(|| source.into()))?,
                marking: marking.map(environment).transpose()?,
                tokens,
            })
        })?
    }

    /// True where the template marks the answers itself, with `generation` tags.
    pub(super) fn marks_answers(&self) -> bool {
        self.marking.is_some()
    }

    /// The first turns as text.
    pub(super) fn text(&self, turns: &Turns, first: usize, prompt: bool, steps: &Steps) -> Result<String, String> {
        self.run(&self.plain, turns, first, prompt, steps)
    }

    /// The whole conversation as text, and the byte ranges of its `generation` blocks.
    pub(super) fn generated(&self, turns: &Turns, steps: &Steps) -> Result<(String, Vec<Range<usize>>), String> {
        let marking = self.marking.as_ref().unwrap_or(&self.plain);
        Ok(unmark(&self.run(marking, turns, turns.count(), false, steps)?))
    }

    fn run(
        &self,
        environment: &Environment<'static>,
        turns: &Turns,
        first: usize,
        prompt: bool,
        steps: &Steps,
    ) -> Result<String, String> {
        let mut names: BTreeMap<&str, Value> =
            self.tokens.iter().map(|(name, token)| (name.as_str(), Value::from(token))).collect();
        names.insert("messages", turns.turns[..first].to_vec().into());
        names.insert("tools", turns.tools.clone());
        names.insert("documents", ().into());
        names.insert("add_generation_prompt", prompt.into());
        let mut text = Limited(Vec::new());
        let rendered = catch_panic(|| {
            let template = environment.get_template(NAME).map_err(|error| explained(&error))?;
            let done = template.render_captured_to(names, &mut text).map_err(|error| explained(&error))?;
            Ok::<_, String>(done.state().fuel_levels().map_or(0, |(used, _)| used))
        });
        let used = rendered?.inspect_err(|_| steps.0.set(steps.0.get().saturating_sub(STEPS)))?;
        let left = steps.0.get().checked_sub(used);
        steps.0.set(left.ok_or_else(|| {
            format!("its answers take more than the limit of {STEPS_OF_A_RECORD} steps to find: it has too many turns")
        })?);
        String::from_utf8(text.0).map_err(|error| error.to_string())
    }
}

/// A buffer of at most [`BYTES`].
struct Limited(Vec<u8>);

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > BYTES {
            return Err(std::io::Error::other("limit"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The error as one line.
fn explained(error: &Error) -> String {
    match error.kind() {
        ErrorKind::OutOfFuel => format!("it takes more than the limit of {STEPS} steps (64 bytes of text are one)"),
        ErrorKind::WriteFailure => format!("it writes more than the limit of {BYTES} bytes"),
        _ => error.to_string(),
    }
}

fn environment(source: String) -> Result<Environment<'static>, String> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.map_err(|error| error.to_string())?);
    environment.set_fuel(Some(STEPS));
    python_functions::install(&mut environment);
    environment.add_template_owned(NAME, source).map_err(|error| error.to_string())?;
    Ok(environment)
}

/// A text without its markers, and the byte ranges between them, in order.
fn unmark(marked: &str) -> (String, Vec<Range<usize>>) {
    let mut text = String::with_capacity(marked.len());
    let (mut open, mut spans) = (Vec::new(), Vec::new());
    for letter in marked.chars() {
        match letter {
            OPEN => open.push(text.len()),
            CLOSE => spans.extend(open.pop().map(|start| start..text.len())),
            letter => text.push(letter),
        }
    }
    spans.sort_by_key(|span| span.start);
    (text, spans)
}
