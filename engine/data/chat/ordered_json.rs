//! JSON values with ordered keys: a template writes a tool's keys in the order of the file.

use std::fmt::{Formatter, Result as FmtResult};

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

/// A JSON value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::data) enum Json {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Json>),
    Object(Fields),
}

/// Keys and values, in order, each key once.
pub(in crate::data) type Fields = Vec<(String, Json)>;

impl Json {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The value of a key; of an object alone.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Object(fields) => get(fields, key),
            _ => None,
        }
    }

    /// The name of its type in errors.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a truth value",
            Self::Number(_) => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        }
    }

    /// Calls `each` with every text in it, without keys.
    pub(super) fn texts(&self, each: &mut impl FnMut(&str)) {
        match self {
            Self::Text(text) => each(text),
            Self::List(list) => list.iter().for_each(|value| value.texts(each)),
            Self::Object(fields) => fields.iter().for_each(|(_, value)| value.texts(each)),
            Self::Null | Self::Bool(_) | Self::Number(_) => {}
        }
    }
}

/// The value of a key.
pub(super) fn get<'a>(fields: &'a Fields, key: &str) -> Option<&'a Json> {
    fields.iter().find(|(name, _)| name == key).map(|(_, value)| value)
}

/// Sets the value of a key; an existing key keeps its position, as in Python.
pub(super) fn set(fields: &mut Fields, key: String, value: Json) {
    match fields.iter_mut().find(|(name, _)| *name == key) {
        Some((_, old)) => *old = value,
        None => fields.push((key, value)),
    }
}

impl From<&Value> for Json {
    fn from(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(value) => Self::Number(value.clone()),
            Value::String(value) => Self::Text(value.clone()),
            Value::Array(list) => Self::List(list.iter().map(Self::from).collect()),
            Value::Object(map) => Self::Object(map.iter().map(|(key, value)| (key.clone(), value.into())).collect()),
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reading)
    }
}

struct Reading;

impl<'de> Visitor<'de> for Reading {
    type Value = Json;

    fn expecting(&self, f: &mut Formatter<'_>) -> FmtResult {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Json, E> {
        Number::from_f64(value).map(Json::Number).ok_or_else(|| E::custom("a number that is not finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::text(value))
    }

    fn visit_string<E>(self, value: String) -> Result<Json, E> {
        Ok(Json::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let mut fields = Fields::new();
        while let Some((key, value)) = entries.next_entry()? {
            set(&mut fields, key, value);
        }
        Ok(Json::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_keep_their_order_and_the_last_of_two_values_counts() {
        let json: Json =
            serde_json::from_str(r#"{"b": 1, "a": [null, true, "x", 1.5], "b": {"z": 1, "y": 2}}"#).unwrap();
        let Json::Object(fields) = &json else { panic!("{json:?}") };
        assert_eq!(fields.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["b", "a"]);
        let Some(Json::Object(inner)) = json.get("b") else { panic!("{json:?}") };
        assert_eq!(inner[0].0, "z");
        let mut texts = Vec::new();
        json.texts(&mut |text| texts.push(text.to_owned()));
        assert_eq!(texts, ["x"]);
    }
}
