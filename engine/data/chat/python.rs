//! What templates see of Python: the functions and filters that `transformers` adds, and values written as Python writes them.

use std::fmt::Write;

use minijinja::value::{Kwargs, Rest, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Output, State, Value};
use minijinja_contrib::pycompat;

/// Lists in lists that are written.
const DEPTH: usize = 200;

/// Gives an environment what `transformers` gives its own, where the engine has something else or nothing.
pub(super) fn install(environment: &mut Environment<'static>) {
    environment.set_unknown_method_callback(method);
    environment.set_formatter(|out: &mut Output, _: &mut State, value: &Value| {
        Ok(match value.as_str() {
            Some(text) => out.write_str(text)?,
            None => out.write_str(&text(value)?)?,
        })
    });
    environment.add_function("raise_exception", |reason: String| -> Result<Value, Error> { Err(wrong(reason)) });
    environment.add_function("strftime_now", strftime_now);
    environment.add_filter("tojson", to_json);
    environment.add_filter("string", |value: &Value| text(value).map(Value::from));
    environment.add_filter("float", |value: &Value, default: Option<Value>| match float(value) {
        Some(number) => Value::from(number),
        None => default.unwrap_or_else(|| Value::from(0.0)),
    });
    environment.add_filter("trim", trim);
    environment.add_filter("indent", indent);
    environment.add_function("dict", dict);
    environment.add_test("sequence", |value: &Value| {
        matches!(value.kind(), ValueKind::String | ValueKind::Seq | ValueKind::Map | ValueKind::Undefined)
    });
    environment.add_test("iterable", |value: &Value| value.is_undefined() || value.try_iter().is_ok());
    environment.add_test("callable", |value: &Value| {
        matches!(value.kind(), ValueKind::Plain | ValueKind::Undefined)
    });
    environment.add_filter("wordcount", |text: &str| words(text).count());
    environment.add_filter("center", |text: &str, width: Option<usize>| centered(text, width.unwrap_or(80), ' '));
}

fn wrong(reason: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, reason.into())
}

fn float(value: &Value) -> Option<f64> {
    match value.as_str() {
        Some(text) => text.trim().replace('_', "").parse().ok(),
        None => f64::try_from(value.clone()).ok(),
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_alphanumeric() && letter != '_').filter(|word| !word.is_empty())
}

fn trim(value: &Value, letters: Option<&str>) -> Result<Value, Error> {
    let text = text(value)?;
    Ok(Value::from(match letters {
        Some(letters) => text.trim_matches(|letter| letters.contains(letter)),
        None => text.trim_matches(is_space),
    }))
}

/// Lines behind so many blanks, or behind a text.
fn indent(
    state: &State,
    value: &Value,
    rest: Rest<Value>,
    named: Kwargs,
) -> Result<Value, Error> {
    let text = text(value)?;
    let option = |place: usize, name: &str| -> Result<Option<Value>, Error> {
        rest.get(place).cloned().map_or_else(|| named.get(name), |value| Ok(Some(value)))
    };
    let width = option(0, "width")?.unwrap_or_else(|| Value::from(4));
    let first = option(1, "first")?.is_some_and(|first| first.is_true());
    let blank = option(2, "blank")?.is_some_and(|blank| blank.is_true());
    named.assert_all_used()?;
    let before = match width.as_str() {
        Some(before) => before.to_owned(),
        None => {
            let width = usize::try_from(i64::try_from(width)?.max(0)).unwrap_or(usize::MAX);
            " ".repeat(limited("indent", width)?)
        }
    };
    let lines = lines(&text);
    state.consume_fuel((lines.len() * before.len()) as u64 / 64)?;
    let mut written = String::new();
    for (number, line) in lines.iter().enumerate() {
        if number > 0 {
            written.push('\n');
        }
        if (number > 0 && (blank || !line.is_empty())) || (number == 0 && first) {
            written.push_str(&before);
        }
        written.push_str(line);
    }
    if text.ends_with('\n') {
        written.push('\n');
        if blank {
            written.push_str(&before);
        }
    }
    Ok(Value::from(written))
}

/// Letters that a filter or method may be asked for.
const WIDTH: usize = 1_000_000;

fn limited(name: &str, width: usize) -> Result<usize, Error> {
    match width {
        0..=WIDTH => Ok(width),
        _ => Err(wrong(format!("{name} is asked for a width of {width}, the limit is {WIDTH}"))),
    }
}

/// Python's `dict` of a mapping or pairs, and of names.
fn dict(from: Option<Value>, named: Kwargs) -> Result<Value, Error> {
    let mut pairs: Vec<(Value, Value)> = Vec::new();
    if let Some(from) = from {
        let mapping = from.kind() == ValueKind::Map;
        for item in from.try_iter()? {
            pairs.push(match mapping {
                true => (item.clone(), from.get_item(&item)?),
                false => (item.get_item(&Value::from(0))?, item.get_item(&Value::from(1))?),
            });
        }
    }
    for name in named.args() {
        pairs.push((Value::from(name), named.peek(name)?));
    }
    Ok(Value::from_pairs(pairs))
}

/// `strftime_now` on one day, midnight of 26 July 2024: a result must not depend on the day on which it is made.
fn strftime_now(format: &str) -> Result<String, Error> {
    let mut written = String::new();
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            written.push(letter);
            continue;
        }
        let mut code = letters.next();
        let plain = code == Some('-');
        if plain {
            code = letters.next();
        }
        written.push_str(match (code.unwrap_or('?'), plain) {
            ('Y' | 'G', _) => "2024",
            ('C', _) => "20",
            ('y' | 'g', _) => "24",
            ('m', false) => "07",
            ('m', true) => "7",
            ('B', _) => "July",
            ('b' | 'h', _) => "Jul",
            ('d' | 'e', _) => "26",
            ('j', _) => "208",
            ('A', _) => "Friday",
            ('a', _) => "Fri",
            ('u' | 'w', _) => "5",
            ('U' | 'W', _) => "29",
            ('V', _) => "30",
            ('H' | 'M' | 'S', false) => "00",
            ('H' | 'M' | 'S', true) => "0",
            ('I', _) => "12",
            ('p', _) => "AM",
            ('f', _) => "000000",
            ('z' | 'Z', _) => "",
            ('F', _) => "2024-07-26",
            ('T' | 'X', _) => "00:00:00",
            ('R', _) => "00:00",
            ('D' | 'x', _) => "07/26/24",
            ('c', _) => "Fri Jul 26 00:00:00 2024",
            ('%', _) => "%",
            ('n', _) => "\n",
            ('t', _) => "\t",
            (other, _) => return Err(wrong(format!("strftime_now does not know `%{other}`"))),
        });
    }
    Ok(written)
}

/// What `str` makes of a value.
fn text(value: &Value) -> Result<String, Error> {
    match value.as_str() {
        Some(text) => Ok(text.to_owned()),
        None => {
            let mut written = String::new();
            repr(value, &mut written, 0)?;
            Ok(written)
        }
    }
}

/// Writes what `repr` makes of a value; what is undefined is written as `str` does.
fn repr(value: &Value, out: &mut String, depth: usize) -> Result<(), Error> {
    if depth > DEPTH {
        return Err(wrong(format!("a value has more than {DEPTH} lists or mappings in each other")));
    }
    match value.kind() {
        ValueKind::Undefined if depth > 0 => out.push_str("Undefined"),
        ValueKind::Number if !value.is_integer() => write_float(f64::try_from(value.clone())?, out),
        ValueKind::String => quote(value.as_str().unwrap_or_default(), out),
        ValueKind::Seq => {
            let (open, close) = if value.is_tuple() { ('(', ')') } else { ('[', ']') };
            out.push(open);
            let mut count = 0;
            for item in value.try_iter()? {
                if count > 0 {
                    out.push_str(", ");
                }
                repr(&item, out, depth + 1)?;
                count += 1;
            }
            if value.is_tuple() && count == 1 {
                out.push(',');
            }
            out.push(close);
        }
        ValueKind::Map => {
            out.push('{');
            for (number, key) in value.try_iter()?.enumerate() {
                if number > 0 {
                    out.push_str(", ");
                }
                repr(&key, out, depth + 1)?;
                out.push_str(": ");
                repr(&value.get_item(&key)?, out, depth + 1)?;
            }
            out.push('}');
        }
        _ => write!(out, "{value}").map_err(|_| wrong("a value that cannot be written"))?,
    }
    Ok(())
}

/// A number as Python writes it: the shortest digits that mean it, with an exponent below 1e-4 and from 1e16 on.
fn write_float(number: f64, out: &mut String) {
    if number.is_nan() {
        return out.push_str("nan");
    }
    let size = number.abs();
    if size.is_infinite() || size == 0.0 || (1e-4..1e16).contains(&size) {
        out.push_str(&format!("{number:?}"));
        return;
    }
    let shortest = format!("{number:e}");
    let (digits, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |rest| ('-', rest));
    out.push_str(&format!("{digits}e{sign}{exponent:0>2}"));
}

/// A text in Python's quotes.
fn quote(text: &str, out: &mut String) {
    let mark = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(mark);
    for letter in text.chars() {
        match letter {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            letter if letter == mark => out.extend(['\\', letter]),
            letter if printable(letter) => out.push(letter),
            letter => out.push_str(&match u32::from(letter) {
                code @ 0..=0xff => format!("\\x{code:02x}"),
                code @ 0x100..=0xffff => format!("\\u{code:04x}"),
                code => format!("\\U{code:08x}"),
            }),
        }
    }
    out.push(mark);
}

/// Whether Python calls a letter printable: no control, separator, surrogate, private or unassigned letter. Rust escapes the
/// same in its debug text, and combining marks beside.
fn printable(letter: char) -> bool {
    letter == ' ' || letter == '\'' || letter == '"' || letter.escape_debug().count() == 1 || combining(letter)
}

/// Letters that Rust escapes only since they would join with a quote before them.
fn combining(letter: char) -> bool {
    // Behind another letter they are not escaped.
    let mut both = String::from("a");
    both.push(letter);
    format!("{both:?}").contains(letter)
}

/// `tojson` as `transformers` overrides it: `json.dumps` with letters as they are.
fn to_json(state: &State, value: &Value, rest: Rest<Value>, named: Kwargs) -> Result<Value, Error> {
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

/// Methods of Python's values that the engine lacks, or has otherwise.
fn method(state: &mut State, value: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    if let Some(format) = value.as_str().filter(|_| name == "format") {
        pay_for(state, format, args)?;
    }
    match value.as_str().and_then(|text| of_text(text, name, args).transpose()) {
        Some(found) => found,
        None => pycompat::unknown_method_callback(state, value, name, args),
    }
}

/// Pays for the widths that a format asks for, which may be much longer than what is formatted. A width may be an argument too.
fn pay_for(state: &State, format: &str, args: &[Value]) -> Result<(), Error> {
    let numbers = format.split(|letter: char| !letter.is_ascii_digit()).filter(|digits| !digits.is_empty());
    let mut most = 0;
    for digits in numbers {
        most += limited("format", digits.parse().unwrap_or(usize::MAX))?;
    }
    for arg in args.iter().filter(|_| format.contains(":{")) {
        most += limited("format", i64::try_from(arg.clone()).map_or(0, |width| usize::try_from(width).unwrap_or(0)))?;
    }
    state.consume_fuel(most as u64 / 64)
}

/// White space as Python knows it.
fn is_space(letter: char) -> bool {
    letter.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&letter)
}

fn of_text(text: &str, name: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    let arg = |place: usize| args.get(place).and_then(Value::as_str);
    let width = || -> Result<usize, Error> {
        let width = args.first().cloned().ok_or_else(|| wrong(format!("{name} needs a width")))?;
        limited(name, usize::try_from(i64::try_from(width)?.max(0)).unwrap_or(usize::MAX))
    };
    let fill = || arg(1).and_then(|fill| fill.chars().next()).unwrap_or(' ');
    let missing = |text: &str| text.chars().count();
    let tuple = |parts: [&str; 3]| Value::from(minijinja::value::Tuple::from(parts.map(Value::from)));
    Ok(Some(match (name, args.len()) {
        ("strip", 0) => text.trim_matches(is_space).into(),
        ("lstrip", 0) => text.trim_start_matches(is_space).into(),
        ("rstrip", 0) => text.trim_end_matches(is_space).into(),
        ("removeprefix", 1) => text.strip_prefix(arg(0).unwrap_or_default()).unwrap_or(text).into(),
        ("removesuffix", 1) => text.strip_suffix(arg(0).unwrap_or_default()).unwrap_or(text).into(),
        ("partition", 1) => match arg(0).and_then(|at| text.split_once(at).map(|(a, b)| (a, at, b))) {
            Some((before, at, behind)) => tuple([before, at, behind]),
            None => tuple([text, "", ""]),
        },
        ("rpartition", 1) => match arg(0).and_then(|at| text.rsplit_once(at).map(|(a, b)| (a, at, b))) {
            Some((before, at, behind)) => tuple([before, at, behind]),
            None => tuple(["", "", text]),
        },
        ("center", 1 | 2) => centered(text, width()?, fill()).into(),
        ("ljust", 1 | 2) => {
            let pad = width()?.saturating_sub(missing(text));
            format!("{text}{}", String::from_iter(std::iter::repeat_n(fill(), pad))).into()
        }
        ("rjust", 1 | 2) => {
            let pad = width()?.saturating_sub(missing(text));
            format!("{}{text}", String::from_iter(std::iter::repeat_n(fill(), pad))).into()
        }
        ("zfill", 1) => {
            let (sign, digits) = text.split_at(usize::from(text.starts_with(['+', '-'])));
            let pad = width()?.saturating_sub(missing(text));
            format!("{sign}{}{digits}", "0".repeat(pad)).into()
        }
        ("isspace", 0) => (!text.is_empty() && text.chars().all(is_space)).into(),
        ("index" | "rindex", 1) => {
            let what = arg(0).unwrap_or_default();
            let at = if name == "index" { text.find(what) } else { text.rfind(what) };
            let at = at.ok_or_else(|| wrong("substring not found"))?;
            text[..at].chars().count().into()
        }
        ("rsplit", 1 | 2) => rsplit(text, arg(0), args.get(1))?,
        ("title", 0) => title(text).into(),
        ("casefold", 0) => text.to_lowercase().replace('ß', "ss").into(),
        ("swapcase", 0) => text
            .chars()
            .flat_map(|letter| match letter.is_uppercase() {
                true => letter.to_lowercase().collect::<Vec<_>>(),
                false => letter.to_uppercase().collect(),
            })
            .collect::<String>()
            .into(),
        ("split", 0) => text.split(is_space).filter(|word| !word.is_empty()).map(Value::from).collect(),
        ("splitlines", 0) => lines(text).into_iter().map(Value::from).collect(),
        _ => return Ok(None),
    }))
}

/// A text cut at a separator, from its end.
fn rsplit(text: &str, at: Option<&str>, most: Option<&Value>) -> Result<Value, Error> {
    let at = at.filter(|at| !at.is_empty()).ok_or_else(|| wrong("rsplit needs a separator"))?;
    let most = most.map(|most| i64::try_from(most.clone())).transpose()?.unwrap_or(-1);
    let parts = usize::try_from(most).map_or(usize::MAX, |most| most + 1);
    let mut found: Vec<Value> = text.rsplitn(parts, at).map(Value::from).collect();
    found.reverse();
    Ok(Value::from(found))
}

/// A text in which every first letter of a word is large and the others are small.
fn title(text: &str) -> String {
    let mut written = String::new();
    let mut inside = false;
    for letter in text.chars() {
        let cased = letter.is_lowercase() || letter.is_uppercase() || ['ǅ', 'ǈ', 'ǋ', 'ǲ'].contains(&letter);
        match letter {
            _ if inside => written.extend(letter.to_lowercase()),
            'Ǆ'..='ǆ' => written.push('ǅ'),
            'Ǉ'..='ǉ' => written.push('ǈ'),
            'Ǌ'..='ǌ' => written.push('ǋ'),
            'Ǳ'..='ǳ' => written.push('ǲ'),
            letter => {
                let mut large = letter.to_uppercase();
                written.extend(large.next());
                written.extend(large.flat_map(char::to_lowercase));
            }
        }
        inside = cased;
    }
    written
}

/// The lines of a text, at every letter that ends one in Python.
fn lines(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let (mut start, mut letters) = (0, text.char_indices().peekable());
    while let Some((at, letter)) = letters.next() {
        let ends = matches!(
            letter,
            '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}' | '\u{1d}' | '\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}'
        );
        if ends {
            lines.push(&text[start..at]);
            start = at + letter.len_utf8();
            if letter == '\r' && letters.next_if(|(_, next)| *next == '\n').is_some() {
                start += 1;
            }
        }
    }
    if start < text.len() {
        lines.push(&text[start..]);
    }
    lines
}

/// A text in the middle of a width; what cannot be halved goes where Python puts it.
fn centered(text: &str, width: usize, fill: char) -> String {
    let pad = width.saturating_sub(text.chars().count());
    let left = pad / 2 + (pad & width & 1);
    let side = |count| String::from_iter(std::iter::repeat_n(fill, count));
    format!("{}{text}{}", side(left), side(pad - left))
}
