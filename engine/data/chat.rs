//! Conversations: a record's list of turns in; by the tokenizer's chat template, text and the places of the answers in it out.
//! The only file that names `minijinja`.

use std::collections::BTreeMap;
use std::ops::Range;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, ErrorKind, Value};
use serde_json::Value as Json;

use super::DataError;
use super::reader::Found;

/// Who speaks where an answer is to be learned.
const ASSISTANT: &str = "assistant";

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// Who speaks: system, user, assistant, or what else the data says.
    pub role: String,
    /// What is said.
    pub content: String,
}

/// The turns in a field of a record: objects with `role` and `content`, or with ShareGPT's `from` and `value`.
pub(super) fn turns(found: &Found<'_>, field: &str) -> Result<Vec<Turn>, DataError> {
    let wrong = |what: String| DataError::Record {
        name: found.name.into(),
        place: found.place(),
        reason: format!("field `{field}` (data.template) {what}"),
    };
    let value = found.value(field, "data.template")?;
    // A column of a table holds the list as text.
    let parsed = value.as_str().map(serde_json::from_str::<Json>).transpose();
    let parsed = parsed.map_err(|error| wrong(format!("is text that is not JSON: {error}")))?;
    let Json::Array(list) = parsed.as_ref().unwrap_or(value) else {
        return Err(wrong("must be a list of turns".into()));
    };
    let mut turns = Vec::with_capacity(list.len());
    for (number, turn) in list.iter().enumerate() {
        let text = |keys: [&str; 2]| keys.iter().find_map(|key| turn.get(key)?.as_str());
        let (Some(role), Some(content)) = (text(["role", "from"]), text(["content", "value"])) else {
            let number = number + 1;
            return Err(wrong(format!(
                "has turn {number} without the texts `role` and `content`, or `from` and `value`"
            )));
        };
        let role = match role {
            "human" => "user",
            "gpt" | "chatgpt" | "bing" | "bard" => ASSISTANT,
            other => other,
        };
        turns.push(Turn { role: role.into(), content: content.into() });
    }
    Ok(turns)
}

/// A chat template.
pub(super) struct ChatTemplate {
    environment: Environment<'static>,
    /// `bos_token` and the like, as the tokenizer's config has them.
    tokens: BTreeMap<String, String>,
}

/// The name under which the environment knows the template.
const NAME: &str = "chat_template";

impl ChatTemplate {
    /// Parses a template as `transformers` would, with the tokens that it may name.
    ///
    /// # Errors
    /// What is wrong with the template.
    pub(super) fn parse(source: &str, tokens: BTreeMap<String, String>) -> Result<Self, String> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|error| error.to_string())?);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        let refuse = |reason: String| -> Result<Value, Error> { Err(Error::new(ErrorKind::InvalidOperation, reason)) };
        environment.add_function("raise_exception", refuse);
        environment.add_template_owned(NAME, source.to_owned()).map_err(|error| error.to_string())?;
        Ok(Self { environment, tokens })
    }

    /// A conversation as text, with the bytes of it that are answers: from where the template asks for one to where it
    /// goes on. They are found by rendering what comes before and what includes each answer.
    ///
    /// # Errors
    /// What the template raises, and that it does not render a beginning as the beginning of the whole.
    pub(super) fn render(&self, turns: &[Turn]) -> Result<(String, Vec<Range<usize>>), String> {
        let whole = self.text(turns, false)?;
        let mut answers = Vec::new();
        for (number, _) in turns.iter().enumerate().filter(|(_, turn)| turn.role == ASSISTANT) {
            let asked = self.text(&turns[..number], true).ok().filter(|asked| whole.starts_with(asked.as_str()));
            let before = match asked {
                Some(asked) => asked,
                None => self.text(&turns[..number], false)?,
            };
            let answered = self.text(&turns[..=number], false)?;
            if !answered.starts_with(&before) || !whole.starts_with(&answered) {
                let turn = number + 1;
                return Err(format!(
                    "the text up to turn {turn} is not the beginning of the whole text, so the answer cannot be found in it"
                ));
            }
            answers.push(before.len()..answered.len());
        }
        Ok((whole, answers))
    }

    fn text(&self, turns: &[Turn], add_generation_prompt: bool) -> Result<String, String> {
        let turn = |turn: &Turn| {
            Value::from(BTreeMap::from([("role", Value::from(&turn.role)), ("content", Value::from(&turn.content))]))
        };
        let mut names: BTreeMap<&str, Value> =
            self.tokens.iter().map(|(name, token)| (name.as_str(), Value::from(token))).collect();
        names.insert("messages", turns.iter().map(turn).collect::<Vec<Value>>().into());
        names.insert("add_generation_prompt", add_generation_prompt.into());
        let template = self.environment.get_template(NAME).map_err(|error| error.to_string())?;
        template.render(names).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// As Qwen2 has it, in short.
    const CHATML: &str = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + \
                          message['content'].strip() + '<|im_end|>' + '\n' }}{% endfor %}\
                          {% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

    /// As Llama 2 has it, in short: no prompt of its own before an answer.
    const LLAMA: &str = "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ '[INST] ' + m.content + ' [/INST]' }}\
                         {% elif m.role == 'assistant' %}{{ ' ' ~ m.content ~ ' ' ~ eos_token }}\
                         {% else %}{{ raise_exception('who is ' ~ m.role ~ '?') }}{% endif %}{% endfor %}";

    fn template(source: &str) -> ChatTemplate {
        let tokens = [("bos_token", "<s>"), ("eos_token", "</s>")].map(|(name, token)| (name.into(), token.into()));
        ChatTemplate::parse(source, tokens.into()).unwrap()
    }

    fn talk(roles: &[(&str, &str)]) -> Vec<Turn> {
        roles.iter().map(|(role, content)| Turn { role: (*role).into(), content: (*content).into() }).collect()
    }

    #[test]
    fn answers_are_found_by_rendering_what_comes_before_them() {
        let turns = talk(&[("user", "Hi"), ("assistant", " Hello. "), ("user", "Bye"), ("assistant", "Bye.")]);
        let answers = |source| {
            let (text, answers) = template(source).render(&turns).unwrap();
            answers.into_iter().map(|answer| text[answer].to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(answers(CHATML), ["Hello.<|im_end|>\n", "Bye.<|im_end|>\n"]);
        assert_eq!(answers(LLAMA), ["  Hello.  </s>", " Bye. </s>"]);
    }

    #[test]
    fn what_a_template_raises_or_hides_is_an_error() {
        let error = template(LLAMA).render(&talk(&[("tool", "x")])).unwrap_err();
        assert!(error.contains("who is tool?"), "{error}");
        let forgets =
            "{% for m in messages %}{% if loop.last or m.role == 'user' %}{{ m.content }};{% endif %}{% endfor %}";
        let turns = talk(&[("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")]);
        let error = template(forgets).render(&turns).unwrap_err();
        assert!(error.starts_with("the text up to turn 2 is not the beginning"), "{error}");
        assert!(ChatTemplate::parse("{% for %}", BTreeMap::new()).is_err());
    }

    #[test]
    fn turns_are_read_in_both_spellings_and_wrong_ones_are_named() {
        let read = |value: Json| {
            let fields = [("talk".to_owned(), value)].into_iter().collect();
            turns(&Found::new(fields, "x.jsonl", "line", 3), "talk")
        };
        let expected = talk(&[("system", "s"), ("user", "u"), ("assistant", "a")]);
        let share =
            json!([{"from": "system", "value": "s"}, {"from": "human", "value": "u"}, {"from": "gpt", "value": "a"}]);
        assert_eq!(read(share.clone()).unwrap(), expected);
        assert_eq!(read(Json::String(share.to_string())).unwrap(), expected);
        let messages = json!([{"role": "system", "content": "s"}, {"role": "user", "content": "u"},
                              {"role": "assistant", "content": "a"}]);
        assert_eq!(read(messages).unwrap(), expected);
        let error = read(json!([{"role": "user", "content": "u"}, {"role": "user"}])).unwrap_err().to_string();
        assert_eq!(
            error,
            "x.jsonl line 3: field `talk` (data.template) has turn 2 without the texts `role` and `content`, or `from` and \
             `value`"
        );
        assert!(read(json!({})).unwrap_err().to_string().ends_with("must be a list of turns"));
    }
}
