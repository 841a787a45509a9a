//! Checks a policy's options, as JSON from the config, against what the policy declares. Policies get checked values only.

use serde_json::{Map, Value};

use super::bindings::cellm::policy::types::{OptionInfo, OptionKind, OptionValue};
use super::error::{PolicyError, nearest};

/// Options of one use of a policy, while they are read one by one.
pub(super) struct Given<'a> {
    policy: &'a str,
    values: Map<String, Value>,
}

impl<'a> Given<'a> {
    /// `json` is one object.
    pub fn parse(policy: &'a str, json: &str) -> Result<Self, PolicyError> {
        match serde_json::from_str(json) {
            Ok(Value::Object(values)) => Ok(Self { policy, values }),
            Ok(other) => Err(refuse(policy, "(all)", &other, "an object")),
            Err(error) => Err(refuse(policy, "(all)", &Value::from(error.to_string()), "an object")),
        }
    }

    /// A setting that every compressor has.
    pub fn setting(&mut self, name: &str, kind: OptionKind, default: OptionValue) -> Result<OptionValue, PolicyError> {
        match self.values.remove(name) {
            None => Ok(default),
            Some(found) => read(&kind, &found).ok_or_else(|| refuse(self.policy, name, &found, &allowed(&kind))),
        }
    }

    /// Every declared option, in order, with the given value or its default. Whatever is left over is unknown.
    pub fn declared(mut self, declared: &[OptionInfo]) -> Result<Vec<(String, OptionValue)>, PolicyError> {
        let mut checked = Vec::new();
        for option in declared {
            let value = self.setting(&option.name, option.kind.clone(), option.default.clone())?;
            checked.push((option.name.clone(), value));
        }
        let Some((option, found)) = self.values.into_iter().next() else { return Ok(checked) };
        let names = || declared.iter().map(|option| option.name.as_str());
        let known = if declared.is_empty() { "none".into() } else { names().collect::<Vec<_>>().join(", ").into() };
        let (policy, nearest) = (self.policy.into(), nearest(&option, names()));
        let (option, found) = (option.into(), found.to_string().into());
        Err(PolicyError::UnknownOption { policy, option, found, nearest, known })
    }
}

fn refuse(policy: &str, option: &str, found: &Value, allowed: &str) -> PolicyError {
    let (policy, option, allowed) = (policy.into(), option.into(), allowed.into());
    PolicyError::Option { policy, option, found: found.to_string(), allowed }
}

fn read(kind: &OptionKind, found: &Value) -> Option<OptionValue> {
    match kind {
        OptionKind::Share => found.as_f64().filter(|share| *share > 0.0 && *share <= 1.0).map(OptionValue::Number),
        OptionKind::Number => found.as_f64().filter(|number| number.is_finite()).map(OptionValue::Number),
        OptionKind::Count => found.as_i64().filter(|count| *count >= 0).map(OptionValue::Integer),
        OptionKind::Flag => found.as_bool().map(OptionValue::Flag),
        OptionKind::Choice(words) => {
            found.as_str().filter(|word| words.iter().any(|w| w == word)).map(|word| OptionValue::Text(word.into()))
        }
    }
}

/// True where a default that the policy declares is one that its kind accepts.
pub(super) fn fits(kind: &OptionKind, value: &OptionValue) -> bool {
    match (kind, value) {
        (OptionKind::Share, OptionValue::Number(share)) => *share > 0.0 && *share <= 1.0,
        (OptionKind::Number, OptionValue::Number(number)) => number.is_finite(),
        (OptionKind::Count, OptionValue::Integer(count)) => *count >= 0,
        (OptionKind::Choice(words), OptionValue::Text(word)) => words.contains(word),
        (OptionKind::Flag, OptionValue::Flag(_)) => true,
        _ => false,
    }
}

/// Values at the edges of what a kind accepts, as a user would write them.
pub(super) fn edges(kind: &OptionKind) -> Vec<Value> {
    match kind {
        OptionKind::Share => [1e-6, 0.5, 1.0].map(Value::from).into(),
        OptionKind::Number => [-1e9, -1.0, 0.0, 1.0, 1e9].map(Value::from).into(),
        OptionKind::Count => [0, 1, 2, i64::from(u32::MAX), i64::MAX].map(Value::from).into(),
        OptionKind::Flag => [false, true].map(Value::from).into(),
        OptionKind::Choice(words) => words.iter().map(|word| Value::from(word.as_str())).collect(),
    }
}

/// The accepted values of a kind, in words.
pub(super) fn allowed(kind: &OptionKind) -> String {
    match kind {
        OptionKind::Share => "a number above 0 and at most 1".into(),
        OptionKind::Number => "a number".into(),
        OptionKind::Count => "an integer, 0 or above".into(),
        OptionKind::Flag => "true or false".into(),
        OptionKind::Choice(words) => format!("one of {}", words.join(", ")),
    }
}

/// A value as a user would write it.
pub(super) fn shown(value: &OptionValue) -> String {
    match value {
        OptionValue::Number(number) => format!("{number:?}"),
        OptionValue::Integer(integer) => integer.to_string(),
        OptionValue::Flag(flag) => flag.to_string(),
        OptionValue::Text(text) => text.clone(),
    }
}
