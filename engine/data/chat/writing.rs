//! Values as Python writes them: `str` and `repr`.

use std::fmt::Write;

use minijinja::value::ValueKind;
use minijinja::{Error, Value};

use super::limits::{DEPTH, wrong};

/// What `str` makes of a value.
pub(super) fn text(value: &Value) -> Result<String, Error> {
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
pub(super) fn write_float(number: f64, out: &mut String) {
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
