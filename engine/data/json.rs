//! A tolerant JSON parser: the bytes of one object in, its fields out. It takes what Python's `json` and pandas take
//! beyond the standard (NaN, unpaired surrogates, numbers of any size), and a bad value spoils only its own field.

use serde_json::{Map, Number, Value};

/// Depth of nested values, at most: a deeper value makes its field unusable.
const DEPTH: usize = 64;

/// The fields of an object; the values of those in `broken` are not to be used.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Object {
    pub(super) fields: Map<String, Value>,
    /// The unusable fields, with the reasons.
    pub(super) broken: Vec<(String, &'static str)>,
}

/// A syntax error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// Bytes before the error.
    at: usize,
    reason: &'static str,
}

impl Fault {
    /// True where the text begins with an object and goes on behind it.
    pub(super) fn is_more(&self) -> bool {
        self.reason == GOES_ON
    }

    /// True where the text is the beginning of an object.
    pub(super) fn is_end(&self) -> bool {
        self.reason == ENDS
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at column {}", self.reason, self.at + 1)
    }
}

const ENDS: &str = "it ends too early";
const GOES_ON: &str = "not JSON: something follows the object";

/// Parses one object. Of duplicate keys the last one counts.
///
/// # Errors
/// The syntax error with its position.
pub(super) fn object(text: &[u8]) -> Result<Object, Fault> {
    let mut parser = Parser { text, at: 0, trouble: None };
    let mut object = Object::default();
    if parser.peek()? != b'{' {
        return Err(parser.fault("not a JSON object"));
    }
    parser.at += 1;
    parser.members(|parser, name| {
        let value = parser.value(0)?;
        object.broken.retain(|(broken, _)| *broken != name);
        if let Some(trouble) = parser.trouble.take() {
            object.broken.push((name.clone(), trouble));
        }
        object.fields.insert(name, value);
        Ok(())
    })?;
    parser.blanks();
    match parser.at == text.len() {
        true => Ok(object),
        false => Err(parser.fault(GOES_ON)),
    }
}

/// The text of a field of an object that [`object`] parses, for values whose keys must keep their order.
pub(super) fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut parser = Parser { text: text.as_bytes(), at: 0, trouble: None };
    let mut found = None;
    parser.peek().ok().filter(|first| *first == b'{')?;
    parser.at += 1;
    let read = parser.members(|parser, key| {
        parser.blanks();
        let start = parser.at;
        parser.value(0)?;
        if key == name {
            found = text.get(start..parser.at);
        }
        Ok(())
    });
    read.ok().and(found)
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    /// The reason for which the current field is unusable.
    trouble: Option<&'static str>,
}

impl Parser<'_> {
    fn fault(&self, reason: &'static str) -> Fault {
        Fault { at: self.at, reason }
    }

    fn blanks(&mut self) {
        while self.text.get(self.at).is_some_and(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// The next byte that is not blank.
    fn peek(&mut self) -> Result<u8, Fault> {
        self.blanks();
        self.text.get(self.at).copied().ok_or_else(|| self.fault(ENDS))
    }

    /// Parses the members of an object up to its end; `each` parses the value of a name.
    fn members(&mut self, mut each: impl FnMut(&mut Self, String) -> Result<(), Fault>) -> Result<(), Fault> {
        if self.peek()? == b'}' {
            self.at += 1;
            return Ok(());
        }
        loop {
            if self.peek()? != b'"' {
                return Err(self.fault("not JSON: a name in quotes was expected"));
            }
            let name = self.string()?;
            if self.peek()? != b':' {
                return Err(self.fault("not JSON: `:` was expected"));
            }
            self.at += 1;
            each(self, name)?;
            match self.peek()? {
                b',' => self.at += 1,
                b'}' => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(self.fault("not JSON: `,` or `}` was expected")),
            }
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, Fault> {
        let first = self.peek()?;
        if depth == DEPTH && matches!(first, b'{' | b'[') {
            self.trouble = Some("is nested deeper than 64 levels");
            return self.skip();
        }
        match first {
            b'"' => self.string().map(Value::String),
            b'{' => {
                self.at += 1;
                let mut fields = Map::new();
                self.members(|parser, name| {
                    let value = parser.value(depth + 1)?;
                    fields.insert(name, value);
                    Ok(())
                })?;
                Ok(Value::Object(fields))
            }
            b'[' => self.array(depth),
            b'-' | b'0'..=b'9' if !self.text[self.at..].starts_with(b"-Infinity") => Ok(self.number(depth)?),
            _ => self.word(depth),
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value, Fault> {
        self.at += 1;
        let mut values = Vec::new();
        if self.peek()? == b']' {
            self.at += 1;
            return Ok(Value::Array(values));
        }
        loop {
            values.push(self.value(depth + 1)?);
            match self.peek()? {
                b',' => self.at += 1,
                b']' => {
                    self.at += 1;
                    return Ok(Value::Array(values));
                }
                _ => return Err(self.fault("not JSON: `,` or `]` was expected")),
            }
        }
    }

    /// Skips a list or object, however deep it goes.
    fn skip(&mut self) -> Result<Value, Fault> {
        let mut open = 0_usize;
        loop {
            match self.peek()? {
                b'"' => {
                    self.string()?;
                    continue;
                }
                b'{' | b'[' => open += 1,
                b'}' | b']' => open -= 1,
                _ => {}
            }
            self.at += 1;
            if open == 0 {
                return Ok(Value::Null);
            }
        }
    }

    fn word(&mut self, depth: usize) -> Result<Value, Fault> {
        let words = [("null", Value::Null), ("true", Value::Bool(true)), ("false", Value::Bool(false))];
        let rest = &self.text[self.at..];
        if let Some((word, value)) = words.into_iter().find(|(word, _)| rest.starts_with(word.as_bytes())) {
            self.at += word.len();
            return Ok(value);
        }
        match ["NaN", "Infinity", "-Infinity"].iter().find(|word| rest.starts_with(word.as_bytes())) {
            Some(word) => {
                self.at += word.len();
                Ok(self.not_finite(depth))
            }
            None if ["null", "true", "false", "NaN", "Infinity"]
                .iter()
                .any(|word| word.as_bytes().starts_with(rest)) =>
            {
                self.at = self.text.len();
                Err(self.fault(ENDS))
            }
            None => Err(self.fault("not JSON: a value was expected")),
        }
    }

    /// NaN and infinities: null inside of other values; as a field's own value they make it unusable.
    fn not_finite(&mut self, depth: usize) -> Value {
        if depth == 0 {
            self.trouble = Some("is not a finite number");
        }
        Value::Null
    }

    fn number(&mut self, depth: usize) -> Result<Value, Fault> {
        let start = self.at;
        let digits = |parser: &mut Self| {
            let from = parser.at;
            while parser.text.get(parser.at).is_some_and(u8::is_ascii_digit) {
                parser.at += 1;
            }
            parser.at - from
        };
        let is = |parser: &Self, bytes: &[u8]| parser.text.get(parser.at).is_some_and(|byte| bytes.contains(byte));
        self.at += usize::from(is(self, b"-"));
        let whole = self.at;
        let mut right = digits(self) > 0 && (self.text[whole] != b'0' || self.at == whole + 1);
        let mut integer = true;
        if is(self, b".") {
            (self.at, integer) = (self.at + 1, false);
            right &= digits(self) > 0;
        }
        if is(self, b"eE") {
            (self.at, integer) = (self.at + 1, false);
            self.at += usize::from(is(self, b"+-"));
            right &= digits(self) > 0;
        }
        if !right {
            let reason = if self.at == self.text.len() { ENDS } else { "not JSON: not a number" };
            return Err(self.fault(reason));
        }
        let text = String::from_utf8_lossy(&self.text[start..self.at]);
        if integer {
            let number = text.parse::<i64>().map(Number::from).or_else(|_| text.parse::<u64>().map(Number::from));
            return Ok(number.map_or_else(|_| Value::String(text.into_owned()), Value::Number));
        }
        match text.parse().ok().and_then(Number::from_f64) {
            Some(number) => Ok(Value::Number(number)),
            None => Ok(self.not_finite(depth)),
        }
    }

    /// A string, from its first quote to its last.
    fn string(&mut self) -> Result<String, Fault> {
        self.at += 1;
        let mut bytes = Vec::new();
        loop {
            let rest = &self.text[self.at..];
            let Some(plain) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\')) else {
                self.at = self.text.len();
                return Err(self.fault(ENDS));
            };
            bytes.extend_from_slice(&rest[..plain]);
            self.at += plain + 1;
            if rest[plain] == b'"' {
                break;
            }
            let escape = *self.text.get(self.at).ok_or_else(|| self.fault(ENDS))?;
            self.at += 1;
            match escape {
                b'"' | b'\\' | b'/' => bytes.push(escape),
                b'b' => bytes.push(0x08),
                b'f' => bytes.push(0x0c),
                b'n' => bytes.push(b'\n'),
                b'r' => bytes.push(b'\r'),
                b't' => bytes.push(b'\t'),
                b'u' => {
                    let character = self.unicode()?;
                    bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                }
                _ => return Err(self.fault("not JSON: an escape that there is not")),
            }
        }
        String::from_utf8(bytes).or_else(|error| {
            self.trouble = Some("is not UTF-8");
            Ok(String::from_utf8_lossy(error.as_bytes()).into_owned())
        })
    }

    /// The character of a `\u` escape whose first `\u` has been read.
    fn unicode(&mut self) -> Result<char, Fault> {
        let first = self.hex()?;
        let mut code = first;
        if (0xd800..0xdc00).contains(&first) && self.text[self.at..].starts_with(b"\\u") {
            let before = self.at;
            self.at += 2;
            let second = self.hex()?;
            match second {
                0xdc00..0xe000 => code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00),
                // It is a character of its own.
                _ => self.at = before,
            }
        }
        Ok(char::from_u32(code).unwrap_or_else(|| {
            self.trouble = Some("has half of a surrogate pair, which is no character");
            char::REPLACEMENT_CHARACTER
        }))
    }

    fn hex(&mut self) -> Result<u32, Fault> {
        let Some(digits) = self.text.get(self.at..self.at + 4) else {
            self.at = self.text.len();
            return Err(self.fault(ENDS));
        };
        let code = digits.iter().try_fold(0, |code, digit| Some(code * 16 + char::from(*digit).to_digit(16)?));
        let code = code.ok_or_else(|| self.fault("not JSON: `\\u` without four digits"))?;
        self.at += 4;
        Ok(code)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn fields(text: &str) -> Value {
        let object = object(text.as_bytes()).unwrap();
        assert!(object.broken.is_empty(), "{object:?}");
        Value::Object(object.fields)
    }

    fn broken(text: &str) -> Vec<(String, &'static str)> {
        object(text.as_bytes()).unwrap().broken
    }

    #[test]
    fn what_json_says_is_read_as_it_says() {
        let text = r#" {"a": "x\n\u00e9\ud83d\ude00\/", "b": [1, -2.5e3, true, null, {}], "c": {"d": []}, "e": 18446744073709551615} "#;
        assert_eq!(fields(text), serde_json::from_str::<Value>(text).unwrap());
        assert_eq!(fields("{}"), json!({}));
        assert_eq!(fields(r#"{"a": 1, "a": 2}"#), json!({"a": 2}));
        assert_eq!(fields(r#"{"id": 1180591620717411303424}"#), json!({"id": "1180591620717411303424"}));
    }

    #[test]
    fn what_python_writes_beyond_json_troubles_its_own_field_alone() {
        assert_eq!(broken(r#"{"a": NaN, "b": "x", "c": -Infinity, "d": 1e999}"#).len(), 3);
        assert_eq!(fields(r#"{"a": [NaN, 1]}"#), json!({"a": [null, 1]}));
        let half = "has half of a surrogate pair, which is no character";
        assert_eq!(broken(r#"{"a": "x \ud83d y", "b": "x"}"#), [("a".to_owned(), half)]);
        assert_eq!(broken(r#"{"a": ["\ude00"]}"#), [("a".to_owned(), half)]);
        assert_eq!(broken(r#"{"a": "\ud83d", "a": "x"}"#), []);
        assert_eq!(object(b"{\"a\": \"\xff\"}").unwrap().broken, [("a".to_owned(), "is not UTF-8")]);
        let deep = format!("{{\"a\": {}1{}, \"b\": 2}}", "[".repeat(100_000), "]".repeat(100_000));
        let found = object(deep.as_bytes()).unwrap();
        assert_eq!((found.broken.len(), &found.fields["b"]), (1, &json!(2)));
    }

    #[test]
    fn the_text_of_a_field_is_as_the_file_has_it() {
        let text = r#"{"x": NaN, "a": {"z": 1, "b": [2 ]} , "a ": "\ud83d"}"#;
        assert_eq!(field(text, "a"), Some(r#"{"z": 1, "b": [2 ]}"#));
        assert_eq!((field(text, "y"), field("[]", "a")), (None, None));
    }

    #[test]
    fn what_is_no_object_is_said_with_its_place() {
        let error = |text: &str| object(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(error("[1]"), "not a JSON object at column 1");
        assert_eq!(error(r#"{"a": }"#), "not JSON: a value was expected at column 7");
        assert_eq!(error(r#"{"a": 01}"#), "not JSON: not a number at column 9");
        assert_eq!(error(r#"{"a": "\x"}"#), "not JSON: an escape that there is not at column 10");
        assert_eq!(error("{} {}"), "not JSON: something follows the object at column 4");
        for cut in ["", "{", r#"{"a"#, r#"{"a": tr"#, r#"{"a": 1"#, r#"{"a": ["#, r#"{"a": "\ud8"#, r#"{"a": -"#] {
            assert!(object(cut.as_bytes()).unwrap_err().is_end(), "{cut}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_give_an_object_or_a_fault(bytes in prop::collection::vec(prop::sample::select(&b"{}[]\",:\\u0d8aeE+-.1NnIt \xff\n"[..]), 0..60)) {
            let text = [b"{\"a\":", bytes.as_slice()].concat();
            if let Ok(strict) = serde_json::from_slice::<Value>(&text) {
                let found = object(&text).unwrap();
                prop_assert!(found.broken.is_empty());
                prop_assert_eq!(found.fields.len(), strict.as_object().unwrap().len());
            } else {
                drop(object(&text));
            }
        }
    }
}
