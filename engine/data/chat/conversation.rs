//! Conversations of records: a field with a list of turns in, a conversation with the keys of chat templates out.

use serde_json::Value;

use super::super::DataError;
use super::super::json::field as field_text;
use super::super::record_reader::RawRecord;
use super::ordered_json::{Fields, Json, get, set};

/// The role whose turns are answers.
pub(super) const ASSISTANT: &str = "assistant";

/// The format of a record's turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::data) enum Style {
    /// The field `messages`, as in `transformers`: roles are those of chat templates.
    Messages,
    /// The field `conversations`, as in ShareGPT: roles have other names than in chat templates.
    ShareGpt,
}

impl Style {
    /// The field with the turns.
    pub(in crate::data) fn field(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::ShareGpt => "conversations",
        }
    }

    /// Fields that a record may have beside the turns.
    pub(in crate::data) fn beside(self) -> &'static [&'static str] {
        match self {
            Self::Messages => &[TOOLS],
            Self::ShareGpt => &[TOOLS, SYSTEM],
        }
    }
}

/// The setting that asks for all these fields.
const TEMPLATE: &str = "data.template";
const TOOLS: &str = "tools";
const SYSTEM: &str = "system";

/// A conversation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conversation {
    /// Its turns, each with the fields that a chat template may read.
    pub(super) turns: Vec<Fields>,
    /// The tools that the record describes.
    pub(super) tools: Option<Json>,
}

impl Conversation {
    /// The conversation of a record.
    ///
    /// # Errors
    /// A field that is missing or no list of turns, and a turn that cannot be read; the turn is named.
    pub(in crate::data) fn read(found: &RawRecord<'_>, style: Style) -> Result<Self, DataError> {
        let field = style.field();
        let wrong = |field: &str, what: String| DataError::Record {
            name: found.name.into(),
            place: found.place(),
            reason: format!("field `{field}` ({TEMPLATE}) {what}"),
        };
        let other = |field: &str| match value(found, field) {
            Err(DataError::MissingField { .. }) => Ok(Json::Null),
            other => other,
        };
        let value = value(found, field)?;
        let Json::List(list) = value else {
            return Err(wrong(field, format!("is {}, it must be a list of turns", value.kind())));
        };
        if list.is_empty() {
            return Err(wrong(field, "is an empty list, it must have a turn".into()));
        }
        let mut turns = Vec::with_capacity(list.len() + 1);
        for (number, entry) in (1..).zip(list) {
            turns.push(turn(entry, style).map_err(|what| wrong(field, format!("has turn {number} {what}")))?);
        }
        if style == Style::ShareGpt {
            let system = other(SYSTEM)?;
            let text = system.as_text().unwrap_or_default();
            if !text.is_empty() && role(&turns[0]) != SYSTEM {
                turns.insert(0, vec![pair("role", Json::text(SYSTEM)), pair("content", Json::text(text))]);
            }
        }
        let tools = tools(other(TOOLS)?).map_err(|what| wrong(TOOLS, what))?;
        Ok(Self { turns, tools })
    }

    /// A conversation that waits for its first answer.
    pub(in crate::data) fn prompt(system: Option<&str>, user: &str) -> Self {
        let turn = |role, content| vec![pair("role", Json::text(role)), pair("content", Json::text(content))];
        let system = system.map(|system| turn(SYSTEM, system));
        Self { turns: system.into_iter().chain([turn("user", user)]).collect(), tools: None }
    }

    /// Calls `each` with the text of every turn.
    pub(in crate::data) fn texts(&self, mut each: impl FnMut(&str)) {
        for turn in &self.turns {
            if let Some(content) = get(turn, "content") {
                content.texts(&mut each);
            }
        }
    }

    /// True where the record describes tools.
    pub(in crate::data) fn has_tools(&self) -> bool {
        self.tools.is_some()
    }

    /// The numbers of the turns that are answers, from 0.
    pub(super) fn answers(&self) -> impl Iterator<Item = usize> {
        self.turns.iter().enumerate().filter(|(_, turn)| role(turn) == ASSISTANT).map(|(number, _)| number)
    }

    /// The reason for which a conversation has nothing to learn: no turn is an answer.
    pub(in crate::data) fn without_answer(&self) -> String {
        match self.answers().next() {
            Some(_) => "its chat template calls nothing of it generated, so there is no answer to learn".into(),
            None => format!("it has no answer to learn: its roles are {}, none is `{ASSISTANT}`", self.roles()),
        }
    }

    /// The roles that occur, each once.
    pub(super) fn roles(&self) -> String {
        let mut roles: Vec<&str> = Vec::new();
        for turn in &self.turns {
            if !roles.contains(&role(turn)) {
                roles.push(role(turn));
            }
        }
        roles.join(", ")
    }
}

pub(super) fn pair(key: &str, value: Json) -> (String, Json) {
    (key.to_owned(), value)
}

fn role(turn: &Fields) -> &str {
    get(turn, "role").and_then(Json::as_text).unwrap_or_default()
}

/// A field with its keys in the order of the file; a column of a table may hold it as text.
fn value(found: &RawRecord<'_>, field: &str) -> Result<Json, DataError> {
    let value = found.value(field, TEMPLATE)?;
    let Value::String(text) = value else {
        let ordered = field_text(found.raw, field).and_then(|text| serde_json::from_str(text).ok());
        return Ok(ordered.unwrap_or_else(|| value.into()));
    };
    let begins = |letter| text.trim_start().starts_with(letter);
    if field == SYSTEM || !(begins('[') || begins('{')) {
        return Ok(Json::text(text));
    }
    serde_json::from_str(text).map_err(|error| DataError::Record {
        name: found.name.into(),
        place: found.place(),
        reason: format!("field `{field}` ({TEMPLATE}) is text that is not JSON: {error}"),
    })
}

/// The tools of a record: a list of objects, or none.
fn tools(value: Json) -> Result<Option<Json>, String> {
    match value {
        Json::Null => Ok(None),
        Json::Text(text) if text.trim().is_empty() => Ok(None),
        Json::List(tools) if tools.iter().all(|tool| matches!(tool, Json::Object(_))) => Ok(Some(Json::List(tools))),
        other => Err(format!("is {}, it must be a list of tools, each an object", other.kind())),
    }
}

/// A turn with the keys of chat templates.
fn turn(entry: Json, style: Style) -> Result<Fields, String> {
    let kind = entry.kind();
    let Json::Object(fields) = entry else { return Err(format!("that is {kind}, it must be an object")) };
    let shared = get(&fields, "role").is_none() && get(&fields, "from").is_some();
    let (role_key, content_key) = if shared { ("from", "value") } else { ("role", "content") };
    let Some(role) = get(&fields, role_key).and_then(Json::as_text).map(str::to_owned) else {
        return Err("without the text `role`, or `from`".into());
    };
    if !shared && style == Style::Messages {
        return Ok(normalized(fields));
    }
    let content = get(&fields, content_key).cloned().unwrap_or(Json::Null);
    let known = chat_role(&role)?;
    let mut turn = vec![pair("role", Json::text(known))];
    if role.eq_ignore_ascii_case("function_call") {
        turn.push(pair("tool_calls", tool_calls(&content)?));
        return Ok(turn);
    }
    let content = match content {
        Json::Null if get(&fields, "tool_calls").is_none() => return Err(format!("without `{content_key}`")),
        Json::Number(number) => Json::Text(number.to_string()),
        Json::Bool(value) => Json::Text(value.to_string()),
        other => other,
    };
    turn.push(pair("content", content));
    for (key, value) in fields {
        if key != role_key && key != content_key {
            set(&mut turn, key, value);
        }
    }
    Ok(normalized(turn))
}

/// The chat template's role for a role of ShareGPT and its descendants.
fn chat_role(role: &str) -> Result<&'static str, String> {
    Ok(match role.to_ascii_lowercase().as_str() {
        "human" | "user" => "user",
        "gpt" | "chatgpt" | "bing" | "bard" | "assistant" | "model" | "bot" | "function_call" => ASSISTANT,
        "system" => SYSTEM,
        "tool" | "observation" | "function_response" | "function" => "tool",
        _ => {
            return Err(format!(
                "of the role `{role}`, known are human, user, gpt, chatgpt, bing, bard, assistant, model, bot, system, \
                 tool, observation, function_response and function_call"
            ));
        }
    })
}

/// The tool call of a turn of the role `function_call`, which has it as text.
fn tool_calls(content: &Json) -> Result<Json, String> {
    let parsed = content.as_text().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_else(|| content.clone());
    let calls = match parsed {
        Json::List(calls) => calls,
        call => vec![call],
    };
    if calls.is_empty() || calls.iter().any(|call| call.get("name").and_then(Json::as_text).is_none()) {
        return Err("of the role `function_call` whose value is no JSON object with a `name`".into());
    }
    let call = |call| Json::Object(vec![pair("type", Json::text("function")), pair("function", call)]);
    Ok(Json::List(calls.into_iter().map(call).collect()))
}

/// The changes that `transformers` makes to a turn before a template gets it: null fields are removed, and reasoning is
/// copied to all of its names.
fn normalized(fields: Fields) -> Fields {
    let fields: Fields = fields.into_iter().filter(|(_, value)| *value != Json::Null).collect();
    let Some(reasoning) =
        ["reasoning_content", "thinking", "reasoning"].iter().find_map(|key| get(&fields, key)).cloned()
    else {
        return fields;
    };
    let mut turn = vec![pair("thinking", reasoning.clone())];
    for (key, value) in fields {
        set(&mut turn, key, value);
    }
    set(&mut turn, "reasoning_content".into(), reasoning);
    turn
}

#[cfg(test)]
pub(in crate::data) mod tests {
    use serde_json::json;

    use super::*;

    /// A conversation of roles and contents.
    pub(in crate::data) fn talk(turns: &[(&str, &str)]) -> Conversation {
        let turn = |(role, content): &(&str, &str)| {
            vec![pair("role", Json::text(*role)), pair("content", Json::text(*content))]
        };
        Conversation { turns: turns.iter().map(turn).collect(), tools: None }
    }

    fn read(style: Style, record: &Value) -> Result<Conversation, String> {
        let raw = record.to_string();
        let Value::Object(fields) = record.clone() else { panic!("{record}") };
        let mut found = RawRecord::new(fields, "x.jsonl", "line", 3);
        found.raw = &raw;
        Conversation::read(&found, style).map_err(|error| error.to_string())
    }

    fn share(turns: Value) -> Result<Conversation, String> {
        read(Style::ShareGpt, &json!({ "conversations": turns }))
    }

    #[test]
    fn turns_are_read_in_both_spellings() {
        let expected = talk(&[("system", "s"), ("user", "u"), ("assistant", "a")]);
        let turns =
            json!([{"from": "system", "value": "s"}, {"from": "human", "value": "u"}, {"from": "gpt", "value": "a"}]);
        assert_eq!(share(turns.clone()).unwrap(), expected);
        assert_eq!(share(Value::String(turns.to_string())).unwrap(), expected);
        let messages = json!([{"role": "system", "content": "s"}, {"role": "user", "content": "u"},
                              {"role": "assistant", "content": "a"}]);
        let text = Value::String(r#"[{"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}]"#.into());
        let found = read(Style::Messages, &json!({ "messages": text })).unwrap();
        assert_eq!(found, talk(&[("user", "u"), ("assistant", "a")]));
        assert_eq!(share(messages).unwrap(), expected);
    }

    #[test]
    fn sharegpt_has_other_names_for_roles_a_system_field_numbers_and_calls() {
        let turns = json!([{"from": "Human", "value": "1+2?"}, {"from": "function_call", "value": "{\"name\": \"add\"}"},
                           {"from": "observation", "value": 3}, {"from": "bot", "value": true}]);
        let found = read(Style::ShareGpt, &json!({"system": "Be kind.", "conversations": turns})).unwrap();
        assert_eq!(found.roles(), "system, user, assistant, tool");
        assert_eq!(get(&found.turns[0], "content"), Some(&Json::text("Be kind.")));
        assert_eq!(get(&found.turns[3], "content"), Some(&Json::text("3")));
        assert_eq!(get(&found.turns[4], "content"), Some(&Json::text("true")));
        let Some(Json::List(calls)) = get(&found.turns[2], "tool_calls") else { panic!("{found:?}") };
        assert_eq!(calls[0].get("function").and_then(|call| call.get("name")), Some(&Json::text("add")));
        assert_eq!(found.answers().collect::<Vec<_>>(), [2, 4]);
    }

    #[test]
    fn messages_keep_their_roles_lose_nulls_and_call_reasoning_by_all_names() {
        let messages = json!([{"role": "User", "content": null, "name": "x"}, {"role": "assistant", "reasoning": "r"}]);
        let found = read(Style::Messages, &json!({"messages": messages, "tools": "[{\"b\": 1, \"a\": 2}]"})).unwrap();
        let keys = |number: usize| found.turns[number].iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>();
        assert_eq!((found.roles().as_str(), keys(0)), ("User, assistant", vec!["name", "role"]));
        assert_eq!(keys(1), ["thinking", "reasoning", "role", "reasoning_content"]);
        let Some(Json::List(tools)) = &found.tools else { panic!("{found:?}") };
        let Json::Object(tool) = &tools[0] else { panic!("{tools:?}") };
        assert_eq!(tool[0].0, "b");
    }

    #[test]
    fn what_is_no_conversation_is_named() {
        let error = |turns: Value| share(turns).unwrap_err();
        let begin = "x.jsonl line 3: field `conversations` (data.template) ";
        assert_eq!(error(json!({})), format!("{begin}is an object, it must be a list of turns"));
        assert_eq!(error(Value::Null), format!("{begin}is null, it must be a list of turns"));
        assert_eq!(error(json!([])), format!("{begin}is an empty list, it must have a turn"));
        let ok = json!({"from": "human", "value": "u"});
        assert_eq!(error(json!([ok, {"from": "human"}])), format!("{begin}has turn 2 without `value`"));
        assert_eq!(error(json!([ok, "x"])), format!("{begin}has turn 2 that is text, it must be an object"));
        assert_eq!(error(json!([{"value": "x"}])), format!("{begin}has turn 1 without the text `role`, or `from`"));
        let unknown = error(json!([{"from": "narrator", "value": "x"}]));
        assert!(
            unknown.starts_with(&format!("{begin}has turn 1 of the role `narrator`, known are human")),
            "{unknown}"
        );
        let tools = read(Style::Messages, &json!({"messages": [{"role": "user"}], "tools": "a saw"})).unwrap_err();
        assert_eq!(
            tools,
            "x.jsonl line 3: field `tools` (data.template) is text, it must be a list of tools, each an object"
        );
    }
}
