//! Record content: the fields of a record in; its text with the range of the answer, its conversation or its image out.

use std::ops::Range;
use std::sync::Arc;

use super::chat::{Conversation, Style};
use super::image_decoder::decode;
use super::record_reader::RawRecord;
use super::template::Template;
use super::{Config, DataError, Image, Task};

/// A named instruction format: a prompt, which differs where there is context, and an answer.
struct InstructionFormat {
    name: &'static str,
    /// The context field, which may be missing or empty.
    context: &'static str,
    with: &'static str,
    without: &'static str,
    answer: &'static str,
}

/// The beginning of both prompts.
const BELOW: &str = "Below is an instruction that describes a task";

/// The formats of Stanford Alpaca and of Databricks Dolly, to the letter as models trained on them expect them.
static INSTRUCTION_FORMATS: [InstructionFormat; 2] = [
    InstructionFormat {
        name: "alpaca",
        context: "input",
        with: ", paired with an input that provides further context. Write a response that appropriately completes the \
               request.\n\n### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n",
        without: ". Write a response that appropriately completes the request.\n\n### Instruction:\n{instruction}\n\n\
                  ### Response:\n",
        answer: "{output}",
    },
    InstructionFormat {
        name: "dolly",
        context: "context",
        with: ". Write a response that appropriately completes the request.\n\n### Instruction:\n{instruction}\n\n\
               Input:\n{context}\n\n### Response:\n",
        without: ". Write a response that appropriately completes the request.\n\n### Instruction:\n{instruction}\n\n\
                  ### Response:\n",
        answer: "{response}",
    },
];

/// Conversation formats by name.
static CONVERSATION_FORMATS: [(&str, Style); 2] = [("sharegpt", Style::ShareGpt), ("messages", Style::Messages)];

/// The conversion of a record's fields to its content, label and natural id.
#[derive(Debug, Clone)]
pub(super) struct FieldMapping {
    shape: ContentSource,
    /// The field behind `{text}`.
    text: String,
    label: Option<String>,
    /// The fields of `partition.by`.
    by: Vec<String>,
    /// True where only the answer is learned.
    answers: bool,
}

#[derive(Debug, Clone)]
enum ContentSource {
    /// Templates for the text: the second is for records whose field `context` is missing or empty.
    Text { prompt: Template, context: Option<(&'static str, Template)>, answer: Option<Template> },
    /// A conversation.
    Chat(Style),
    /// The field of an image.
    Picture(String),
}

/// The content of a record, before it has tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Text, and the byte range of the answer in it: none where everything is learned.
    Text {
        /// The filled template, and the answer behind it.
        text: String,
        /// The byte range of the answer.
        answer: Option<Range<usize>>,
    },
    /// A conversation, for the tokenizer's chat template.
    Chat(Conversation),
    /// An image.
    Image(Arc<Image>),
}

impl Content {
    /// Text that is learned as a whole.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text { text: text.into(), answer: None }
    }

    /// True where its text has at least so many characters; always for an image.
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

    /// Bytes of text, or values of the image.
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

impl FieldMapping {
    /// The recipe of a config; `by` is `partition.by`, field names split by commas, where it is needed.
    ///
    /// # Errors
    /// A template that does not parse, or keys that do not go together.
    pub(super) fn new(config: &Config, by: Option<&str>) -> Result<Self, DataError> {
        let by = by.map(|by| by.split(',').map(|field| field.trim().to_owned()).collect()).unwrap_or_default();
        let answers = config.task == Task::Instruction;
        let (text, label) = (config.text.clone(), config.label.clone());
        Ok(Self { shape: ContentSource::new(config)?, text, label, by, answers })
    }

    /// The recipe for an image dataset: the label is `label` unless the config says otherwise, and there is no text.
    pub(super) fn of_pictures(config: &Config, by: Option<&str>) -> Result<Self, DataError> {
        let recipe = Self::new(config, by)?;
        Ok(Self { label: Some(recipe.label.unwrap_or_else(|| "label".into())), ..recipe })
    }

    /// The recipe for a table with an image column.
    pub(super) fn of_picture_column(config: &Config, by: Option<&str>, column: String) -> Result<Self, DataError> {
        Ok(Self { shape: ContentSource::Picture(column), ..Self::new(config, by)? })
    }

    /// The fields that it reads, each with the setting that asks for it; none for an optional field.
    pub(super) fn fields(&self) -> Vec<(&str, Option<&'static str>)> {
        let mut asked: Vec<(&str, Option<&'static str>)> = Vec::new();
        match &self.shape {
            ContentSource::Chat(style) => {
                asked.push((style.field(), Some("data.template")));
                asked.extend(style.beside().iter().map(|field| (*field, None)));
            }
            ContentSource::Picture(field) => asked.push((field.as_str(), Some(PICTURE))),
            ContentSource::Text { prompt, context, answer } => {
                let optional = context.as_ref().map(|(field, _)| *field);
                let templates = prompt.fields().map(|field| (field, "data.template"));
                let answers = answer.iter().flat_map(|answer| answer.fields().map(|field| (field, answer.setting())));
                let templates = templates.chain(answers);
                for (field, setting) in templates {
                    let (field, setting) = self.placeholder_field(field, setting);
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

    /// The content of a record.
    ///
    /// # Errors
    /// A field that is missing or of the wrong kind.
    pub(super) fn content(&self, found: &RawRecord<'_>) -> Result<Content, DataError> {
        let (prompt, context, answer) = match &self.shape {
            ContentSource::Chat(style) => return Conversation::read(found, *style).map(Content::Chat),
            ContentSource::Picture(field) => return picture(found, field).map(Content::Image),
            ContentSource::Text { prompt, context, answer } => (prompt, context, answer),
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

    /// True where a record is a conversation.
    pub(super) fn reads_chats(&self) -> bool {
        matches!(self.shape, ContentSource::Chat(_))
    }

    /// True where a record has an answer.
    pub(super) fn has_answers(&self) -> bool {
        matches!(&self.shape, ContentSource::Text { answer: Some(_), .. })
    }

    /// The text before the answer of a record whose only field is `text`.
    ///
    /// # Errors
    /// [`DataError::Value`] where the template has more fields, or the records are no text.
    pub(super) fn prompt(&self, text: &str) -> Result<String, DataError> {
        let refused = |found: String, has: &str| {
            DataError::value("data.template", found, format!("one field, as a prompt gives one: it has {has}"))
        };
        let ContentSource::Text { prompt, context, .. } = &self.shape else {
            return Err(refused("no text".into(), "none"));
        };
        let template = context.as_ref().map_or(prompt, |(_, without)| without);
        let mut fields: Vec<&str> = template.fields().collect();
        fields.sort_unstable();
        fields.dedup();
        if fields.len() != 1 {
            return Err(refused(format!("`{}`", template.source()), &fields.join(", ")));
        }
        let mut filled = String::new();
        template.fill(&mut filled, |_, to| {
            to.push_str(text);
            Ok(())
        })?;
        Ok(filled)
    }

    /// A record's label, where the config names its field.
    ///
    /// # Errors
    /// As [`Self::content`].
    pub(super) fn label(&self, found: &RawRecord<'_>) -> Result<Option<String>, DataError> {
        let Some(field) = &self.label else { return Ok(None) };
        found.named(field, "data.label").map(Some)
    }

    /// The values of the fields of `partition.by`, joined by `/`; none where it was not given.
    ///
    /// # Errors
    /// As [`Self::content`].
    pub(super) fn natural_id(&self, found: &RawRecord<'_>) -> Result<Option<String>, DataError> {
        let mut id = String::new();
        for (number, field) in self.by.iter().enumerate() {
            if number > 0 {
                id.push('/');
            }
            id.push_str(&found.named(field, "partition.by")?);
        }
        Ok((!self.by.is_empty()).then_some(id))
    }

    fn fill(&self, template: &Template, found: &RawRecord<'_>, text: &mut String) -> Result<(), DataError> {
        template.fill(text, |field, text| {
            let (field, setting) = self.placeholder_field(field, template.setting());
            found.append(field, setting, text)
        })
    }

    /// The field of a placeholder and the setting that names it.
    fn placeholder_field<'a>(&'a self, field: &'a str, setting: &'static str) -> (&'a str, &'static str) {
        if field == "text" { (&self.text, "data.text") } else { (field, setting) }
    }
}

/// The image in a field of a table, as `datasets` writes it, its bytes as hexadecimal digits.
fn picture(found: &RawRecord<'_>, field: &str) -> Result<Arc<Image>, DataError> {
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

/// The setting that asks for an image column.
const PICTURE: &str = "data.path";

impl ContentSource {
    fn new(config: &Config) -> Result<Self, DataError> {
        let named = INSTRUCTION_FORMATS.iter().find(|named| named.name == config.template);
        let chat = CONVERSATION_FORMATS.iter().find(|(name, _)| *name == config.template);
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
        let recipe = FieldMapping::new(&config, None)?;
        recipe.content(&RawRecord::new(fields, "x.jsonl", "line", 7))
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
        let recipe = FieldMapping::new(&config, Some("a, b")).unwrap();
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
