//! What templates see of Python: the functions that `transformers` adds, and filters and tests as Jinja has them where the engine
//! has others.

use minijinja::value::{Kwargs, Rest, ValueKind};
use minijinja::{Environment, Error, Output, State, Value};

use super::limits::{limited, wrong};
use super::methods::{centered, is_space, lines, method};
use super::to_json::to_json;
use super::writing::text;

/// Gives an environment what `transformers` gives its own, where the engine has something else or nothing.
pub(super) fn install(environment: &mut Environment<'static>) {
    environment.set_unknown_method_callback(method);
    environment.set_formatter(|out: &mut Output, _: &mut State, value: &Value| {
        match value.as_str() {
            Some(text) => out.write_str(text)?,
            None => out.write_str(&text(value)?)?,
        }
        Ok(())
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
    environment.add_test("callable", |value: &Value| matches!(value.kind(), ValueKind::Plain | ValueKind::Undefined));
    // It writes as many blanks as a list is deep, before anybody pays for them.
    environment.remove_filter("pprint");
    environment.add_filter("wordcount", |text: &str| words(text).count());
    environment.add_filter("center", |text: &str, width: Option<usize>| -> Result<String, Error> {
        Ok(centered(text, limited("center", width.unwrap_or(80))?, ' '))
    });
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
fn indent(state: &State, value: &Value, rest: Rest<Value>, named: Kwargs) -> Result<Value, Error> {
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
