//! The filter `tojson` as `transformers` overrides it: a value in, what `json.dumps` makes of it out.

use minijinja::value::{Kwargs, Rest, ValueKind};
use minijinja::{Error, State, Value};

use super::limits::{DEPTH, wrong};
use super::writing::write_float;

/// `json.dumps` with letters as they are, unless it is asked for others.
pub(super) fn to_json(state: &State, value: &Value, rest: Rest<Value>, named: Kwargs) -> Result<Value, Error> {
    let option = |place: usize, name: &str| -> Result<Option<Value>, Error> {
        Ok(match rest.get(place) {
            Some(value) => Some(value.clone()),
            None => named.get::<Option<Value>>(name)?,
        })
    };
    let given = |value: Option<Value>| value.filter(|value| !value.is_none() && !value.is_undefined());
    let ascii = option(0, "ensure_ascii")?.is_some_and(|value| value.is_true());
    let indent = match given(option(1, "indent")?) {
        None => None,
        Some(indent) => Some(match indent.as_str() {
            Some(text) => text.to_owned(),
            None => " ".repeat(usize::try_from(i64::try_from(indent)?.clamp(0, 64)).unwrap_or(0)),
        }),
    };
    let (mut between, mut behind_key) = (if indent.is_some() { "," } else { ", " }.to_owned(), ": ".to_owned());
    if let Some(separators) = given(option(2, "separators")?) {
        let texts: Vec<String> = separators.try_iter()?.map(|text| text.to_string()).collect();
        let [items, keys]: [String; 2] =
            texts.try_into().map_err(|_| wrong("the separators of tojson must be two texts"))?;
        (between, behind_key) = (items, keys);
    }
    let sort = option(3, "sort_keys")?.is_some_and(|value| value.is_true());
    named.assert_all_used()?;
    let mut json = ToJson { state, ascii, indent, between, behind_key, sort, out: String::new(), paid: 0 };
    json.write(value, 0)?;
    Ok(Value::from(json.out))
}

struct ToJson<'a, 'b, 'c> {
    state: &'a State<'b, 'c>,
    ascii: bool,
    indent: Option<String>,
    between: String,
    behind_key: String,
    sort: bool,
    out: String,
    /// Bytes that were paid for in steps.
    paid: usize,
}

impl ToJson<'_, '_, '_> {
    fn write(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        if depth > DEPTH {
            return Err(wrong(format!("tojson: a value has more than {DEPTH} lists or mappings in each other")));
        }
        self.pay()?;
        match value.kind() {
            ValueKind::None => self.out.push_str("null"),
            ValueKind::Bool => self.out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => self.number(value)?,
            ValueKind::String => self.text(value.as_str().unwrap_or_default()),
            ValueKind::Seq => {
                let items: Vec<Value> = value.try_iter()?.collect();
                self.enclose('[', ']', items, depth, |json, item, depth| json.write(&item, depth))?;
            }
            ValueKind::Map => {
                let mut keys: Vec<Value> = value.try_iter()?.collect();
                if self.sort {
                    keys.sort();
                }
                self.enclose('{', '}', keys, depth, |json, key, depth| {
                    json.key(&key)?;
                    json.out.push_str(&json.behind_key);
                    json.write(&value.get_item(&key)?, depth)
                })?;
            }
            kind => return Err(wrong(format!("tojson: what is {kind} is not JSON serializable"))),
        }
        Ok(())
    }

    /// Pays for what was written since the last time; dearer than copying, as it takes more time.
    fn pay(&mut self) -> Result<(), Error> {
        let written = self.out.len() - self.paid;
        self.paid = self.out.len();
        self.state.consume_fuel(1 + written as u64 / 16)
    }

    fn enclose(
        &mut self,
        open: char,
        close: char,
        items: Vec<Value>,
        depth: usize,
        mut each: impl FnMut(&mut Self, Value, usize) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.out.push(open);
        let empty = items.is_empty();
        for (number, item) in items.into_iter().enumerate() {
            if number > 0 {
                self.out.push_str(&self.between);
            }
            self.line(depth + 1);
            each(self, item, depth + 1)?;
        }
        if !empty {
            self.line(depth);
        }
        self.out.push(close);
        Ok(())
    }

    fn line(&mut self, depth: usize) {
        if let Some(indent) = &self.indent {
            self.out.push('\n');
            for _ in 0..depth {
                self.out.push_str(indent);
            }
        }
    }

    fn number(&mut self, value: &Value) -> Result<(), Error> {
        if value.is_integer() {
            self.out.push_str(&value.to_string());
            return Ok(());
        }
        match f64::try_from(value.clone())? {
            number if number.is_nan() => self.out.push_str("NaN"),
            number if number.is_infinite() => self.out.push_str(if number > 0.0 { "Infinity" } else { "-Infinity" }),
            number => write_float(number, &mut self.out),
        }
        Ok(())
    }

    fn key(&mut self, key: &Value) -> Result<(), Error> {
        match key.kind() {
            ValueKind::String => self.text(key.as_str().unwrap_or_default()),
            ValueKind::None | ValueKind::Bool | ValueKind::Number => {
                self.out.push('"');
                self.write(key, 0)?;
                self.out.push('"');
            }
            kind => return Err(wrong(format!("tojson: keys must be text or numbers, not {kind}"))),
        }
        Ok(())
    }

    fn text(&mut self, text: &str) {
        self.out.push('"');
        for letter in text.chars() {
            match letter {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '\u{8}' => self.out.push_str("\\b"),
                '\u{c}' => self.out.push_str("\\f"),
                letter if letter < ' ' || (self.ascii && !(' '..='~').contains(&letter)) => {
                    for unit in letter.encode_utf16(&mut [0; 2]) {
                        self.out.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                letter => self.out.push(letter),
            }
        }
        self.out.push('"');
    }
}
