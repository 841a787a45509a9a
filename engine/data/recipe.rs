//! From fields to content: the fields of a record in; its text, with the places of answers, or its turns of talk out.

use std::ops::Range;
use std::sync::Arc;

use super::chat::{Conversation, Style};
use super::decode::decode;
use super::reader::Found;
use super::template::Template;
use super::{Config, DataError, Image, Task};

/// A format of instructions by name: a prompt, which differs where there is something to go with it, and an answer.
struct Named {
    name: &'static str,
    /// The field that may be missing or empty.
    context: &'static str,
    with: &'static str,
    without: &'static str,
    answer: &'static str,
}

/// How the prompts of both begin.
const BELOW: &str = "Below is an instruction that describes a task";

/// The formats of Stanford Alpaca and of Databricks Dolly, letter by letter as models trained on them expect them.
static NAMED: [Named; 2] = [
    Named {
        name: "alpaca",
        context: "input",
        with: ", paired with an input that provides further context. Write a response that appropriately completes the \
               request.\n\n### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n",
        without: ". Write a response that appropriately completes the request.\n\n### Instruction:\n{instruction}\n\n\
                  ### Response:\n",
        answer: "{output}",
    },
    Named {
        name: "dolly",
        context: "context",
        with: ". Write a response that appropriately completes the request.\n\n### Instruction:\n{instruction}\n\n\
               Input:\n{context}\n\n### Response:\n",
        without: ". Write a response that appropriately completes the request.\n\n### Instruction:\n{instruction}\n\n\
                  ### Response:\n",
        answer: "{response}",
    },
];

/// Conversations by name.
static CHATS: [(&str, Style); 2] = [("sharegpt", Style::ShareGpt), ("messages", Style::Messages)];

/// How a record's content is made of its fields, and which of them tell its label and its owner.
#[derive(Debug, Clone)]
pub(super) struct Recipe {
    shape: Shape,
    /// The field that `{text}` stands for.
    text: String,
    label: Option<String>,
    /// The fields of `partition.by`.
    by: Vec<String>,
    /// Whether the answer alone is learned.
    answers: bool,
}

#[derive(Debug, Clone)]
enum Shape {
    /// `context` is the field without which, or with nothing in it, the second template counts.
    Text { prompt: Template, context: Option<(&'static str, Template)>, answer: Option<Template> },
    /// A list of turns.
    Chat(Style),
    /// The field with a picture.
    Picture(String),
}

/// What a record holds, before it has tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Text, and the bytes of it that are the answer: none where everything is to be learned.
    Text {
        /// The template filled, and the answer behind it.
        text: String,
        /// Where the answer stands.
        answer: Option<Range<usize>>,
    },
    /// A conversation, which the tokenizer's chat template makes text of.
    Chat(Conversation),
    /// A picture.
    Image(Arc<Image>),
}

impl Content {
    /// Text, all of it to be learned.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text { text: text.into(), answer: None }
    }

    /// Whether its text has at least so many characters; a picture always has.
    pub(super) fn reaches(&self, characters: usize) -> bool {
        match self {
            Self::Text { text, .. } => text.chars().take(characters).count() == characters,
            Self::Chat(conversation) => {
                let mut count = 0;
                conversation.texts(|text| count += text.chars().take(characters).count());
                count >= characters
            }
            Self::Image(_) => true,
        }
    }

    /// Bytes of text, or values of the picture.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Text { text, .. } => text.len(),
            Self::Chat(conversation) => {
                let mut size = 0;
                conversation.texts(|text| size += text.len());
                size
            }
            Self::Image(image) => image.values.len(),
        }
    }
}

impl Recipe {
    /// The recipe of a config; `by` is `partition.by`, field names split by commas, where it is needed.
    ///
    /// # Errors
    /// A template that does not parse, or keys that do not go together.
    pub(super) fn new(config: &Config, by: Option<&str>) -> Result<Self, DataError> {
        let by = by.map(|by| by.split(',').map(|field| field.trim().to_owned()).collect()).unwrap_or_default();
        let answers = config.task == Task::Instruction;
        let (text, label) = (config.text.clone(), config.label.clone());
        Ok(Self { shape: Shape::new(config)?, text, label, by, answers })
    }

    /// The same for pictures: the label is `label` unless the config says otherwise, and there is no text.
    pub(super) fn of_pictures(config: &Config, by: Option<&str>) -> Result<Self, DataError> {
        let recipe = Self::new(config, by)?;
        Ok(Self { label: Some(recipe.label.unwrap_or_else(|| "label".into())), ..recipe })
    }

    /// The same where a column of a table holds a picture.
    pub(super) fn of_picture_column(config: &Config, by: Option<&str>, column: String) -> Result<Self, DataError> {
        Ok(Self { shape: Shape::Picture(column), ..Self::new(config, by)? })
    }

    /// The fields that it reads, each with the setting that asks for it; none for a field that may be missing.
    pub(super) fn fields(&self) -> Vec<(&str, Option<&'static str>)> {
        let mut asked: Vec<(&str, Option<&'static str>)> = Vec::new();
        match &self.shape {
            Shape::Chat(style) => {
                asked.push((style.field(), Some("data.template")));
                asked.extend(style.beside().iter().map(|field| (*field, None)));
            }
            Shape::Picture(field) => asked.push((field.as_str(), Some(PICTURE))),
            Shape::Text { prompt, context, answer } => {
                let optional = context.as_ref().map(|(field, _)| *field);
                let templates = prompt.fields().map(|field| (field, "data.template"));
                let answers = answer.iter().flat_map(|answer| answer.fields().map(|field| (field, answer.setting())));
                let templates = templates.chain(answers);
                for (field, setting) in templates {
                    let (field, setting) = self.meant(field, setting);
                    asked.push((field, (Some(field) != optional).then_some(setting)));
                }
            }
        }
        asked.extend(self.label.iter().map(|field| (field.as_str(), Some("data.label"))));
        asked.extend(self.by.iter().map(|field| (field.as_str(), Some("partition.by"))));
        asked
    }

    /// The field of the label, where there is one.
    pub(super) fn label_field(&self) -> Option<&str> {
        self.label.as_deref()
    }

    /// What a record says.
    ///
    /// # Errors
    /// A field that is missing or of the wrong kind.
    pub(super) fn content(&self, found: &Found<'_>) -> Result<Content, DataError> {
        let (prompt, context, answer) = match &self.shape {
            Shape::Chat(style) => return Conversation::read(found, *style).map(Content::Chat),
            Shape::Picture(field) => return picture(found, field).map(Content::Image),
            Shape::Text { prompt, context, answer } => (prompt, context, answer),
        };
        let prompt = match context {
            Some((field, without)) if found.is_empty(field) => without,
            _ => prompt,
        };
        let mut text = String::new();
        self.fill(prompt, found, &mut text)?;
        let prompt = text.len();
        if let Some(answer) = answer {
            self.fill(answer, found, &mut text)?;
        }
        let answer = self.answers.then_some(prompt..text.len());
        Ok(Content::Text { text, answer })
    }

    /// A record's label, where the config names its field.
    ///
    /// # Errors
    /// As [`Self::content`].
    pub(super) fn label(&self, found: &Found<'_>) -> Result<Option<String>, DataError> {
        let Some(field) = &self.label else { return Ok(None) };
        found.named(field, "data.label").map(Some)
    }

    /// What `partition.by` makes of a record, where it is asked for: the values of its fields, joined by `/`.
    ///
    /// # Errors
    /// As [`Self::content`].
    pub(super) fn natural_id(&self, found: &Found<'_>) -> Result<Option<String>, DataError> {
        let mut id = String::new();
        for (number, field) in self.by.iter().enumerate() {
            if number > 0 {
                id.push('/');
            }
            id.push_str(&found.named(field, "partition.by")?);
        }
        Ok((!self.by.is_empty()).then_some(id))
    }

    fn fill(&self, template: &Template, found: &Found<'_>, text: &mut String) -> Result<(), DataError> {
        template.fill(text, |field, text| {
            let (field, setting) = self.meant(field, template.setting());
            found.append(field, setting, text)
        })
    }

    /// The field that a placeholder stands for and the setting that says so.
    fn meant<'a>(&'a self, field: &'a str, setting: &'static str) -> (&'a str, &'static str) {
        if field == "text" { (&self.text, "data.text") } else { (field, setting) }
    }
}

/// The picture in a field of a table, as `datasets` writes it; of its bytes there are hexadecimal digits.
fn picture(found: &Found<'_>, field: &str) -> Result<Arc<Image>, DataError> {
    let wrong = |reason: String| DataError::Record { name: found.name.into(), place: found.place(), reason };
    let Some(digits) = found.value(field, PICTURE)?.get("bytes").and_then(serde_json::Value::as_str) else {
        return Err(wrong(format!("column `{field}` has no bytes of a picture")));
    };
    let digit = |digit: &u8| char::from(*digit).to_digit(16).unwrap_or(0) as u8;
    let bytes: Vec<u8> =
        digits.as_bytes().chunks(2).map(|pair| pair.iter().fold(0, |all, next| all << 4 | digit(next))).collect();
    decode(&bytes).map(Arc::new).map_err(|reason| wrong(format!("column `{field}`: {reason}")))
}

const ANSWER: &str = "data.answer";

/// What asks for a column of pictures.
const PICTURE: &str = "data.path";

impl Shape {
    fn new(config: &Config) -> Result<Self, DataError> {
        let named = NAMED.iter().find(|named| named.name == config.template);
        let chat = CHATS.iter().find(|(name, _)| *name == config.template);
        let own_answer = named.is_some() || chat.is_some();
        if own_answer && config.task == Task::Classification {
            let allowed = "text with `{field}`, as data.task is `classification`";
            return Err(DataError::value("data.template", format!("`{}`", config.template), allowed));
        }
        match &config.answer {
            Some(answer) if own_answer || config.task == Task::Classification => {
                let reason = match own_answer {
                    true => format!("not set, as data.template `{}` has its own", config.template),
                    false => "not set, as data.task is `classification`".to_owned(),
                };
                return Err(DataError::value(ANSWER, format!("`{answer}`"), reason));
            }
            None if config.task == Task::Instruction && !own_answer => {
                let allowed = "a template, as data.task is `instruction` and data.template is none of alpaca, dolly, \
                               sharegpt and messages";
                return Err(DataError::value(ANSWER, "not set", allowed));
            }
            _ => {}
        }
        if let Some((_, style)) = chat {
            return Ok(Self::Chat(*style));
        }
        let Some(named) = named else {
            let prompt = Template::parse("data.template", &config.template)?;
            let answer = config.answer.as_ref().map(|answer| Template::parse(ANSWER, answer)).transpose()?;
            return Ok(Self::Text { prompt, context: None, answer });
        };
        let prompt = |rest| Template::parse("data.template", &format!("{BELOW}{rest}"));
        let context = Some((named.context, prompt(named.without)?));
        let answer = Some(Template::parse("data.template", named.answer)?);
        Ok(Self::Text { prompt: prompt(named.with)?, context, answer })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn content(change: impl FnOnce(&mut Config), record: Value) -> Result<Content, DataError> {
        let mut config = Config { task: Task::Instruction, ..Config::default() };
        change(&mut config);
        let Value::Object(fields) = record else { panic!("not an object") };
        let recipe = Recipe::new(&config, None)?;
        recipe.content(&Found::new(fields, "x.jsonl", "line", 7))
    }

    /// The text up to the answer, and the answer.
    fn halves(content: Content) -> (String, String) {
        let Content::Text { text, answer } = content else { panic!("{content:?}") };
        let answer = answer.unwrap();
        assert_eq!(answer.end, text.len());
        (text[..answer.start].to_owned(), text[answer].to_owned())
    }

    #[test]
    fn a_free_prompt_and_answer_tell_what_is_learned() {
        let record = json!({"q": "why?", "a": "so."});
        let free = |config: &mut Config| {
            (config.template, config.text, config.answer) = ("Q: {text}\nA:".into(), "q".into(), Some(" {a}".into()));
        };
        let found = halves(content(free, record.clone()).unwrap());
        assert_eq!(found, ("Q: why?\nA:".to_owned(), " so.".to_owned()));
        let text = content(|config| (free(config), config.task = Task::Text).0, record).unwrap();
        assert_eq!(text, Content::text("Q: why?\nA: so."));
    }

    #[test]
    fn alpaca_and_dolly_have_another_prompt_where_there_is_nothing_to_go_with_it() {
        let alpaca = |input: Value| {
            let record = json!({"instruction": "Add.", "input": input, "output": "3"});
            halves(content(|config| config.template = "alpaca".into(), record).unwrap())
        };
        let (prompt, answer) = alpaca(json!("1 and 2"));
        assert!(prompt.contains("an input that provides") && prompt.contains("### Input:\n1 and 2\n"), "{prompt}");
        assert!(prompt.ends_with("### Response:\n") && answer == "3");
        for empty in [json!(""), Value::Null] {
            let (prompt, _) = alpaca(empty);
            assert!(!prompt.contains("Input") && prompt.contains("### Instruction:\nAdd.\n"), "{prompt}");
        }
        let record = json!({"instruction": "Go on.", "response": "On."});
        let (prompt, answer) = halves(content(|config| config.template = "dolly".into(), record.clone()).unwrap());
        assert!(prompt.ends_with("Go on.\n\n### Response:\n") && answer == "On.", "{prompt}");
        let error = content(|config| config.template = "alpaca".into(), record).unwrap_err().to_string();
        assert_eq!(error, "x.jsonl line 7 has no field `output` (data.template); its fields are instruction, response");
    }

    #[test]
    fn an_answer_beside_a_named_template_is_refused() {
        let both = |config: &mut Config| (config.template, config.answer) = ("dolly".into(), Some("{a}".into()));
        let error = content(both, json!({})).unwrap_err().to_string();
        assert_eq!(error, "data.answer is `{a}`, it must be not set, as data.template `dolly` has its own");
    }

    #[test]
    fn the_fields_it_reads_are_known_before_it_reads() {
        let config = Config { template: "dolly".into(), label: Some("category".into()), ..Config::default() };
        let recipe = Recipe::new(&config, Some("a, b")).unwrap();
        let must = |setting| Some(setting);
        let expected = [
            ("instruction", must("data.template")),
            ("context", None),
            ("response", must("data.template")),
            ("category", must("data.label")),
            ("a", must("partition.by")),
            ("b", must("partition.by")),
        ];
        assert_eq!(recipe.fields(), expected);
    }
}
