//! The methods of Python's values that templates call: those that the engine lacks, or has otherwise.

use minijinja::{Error, State, Value};
use minijinja_contrib::pycompat;

use super::limits::{limited, wrong};

/// Methods of Python's values that the engine lacks, or has otherwise.
pub(super) fn method(state: &mut State, value: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
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
pub(super) fn is_space(letter: char) -> bool {
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
pub(super) fn lines(text: &str) -> Vec<&str> {
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
pub(super) fn centered(text: &str, width: usize, fill: char) -> String {
    let pad = width.saturating_sub(text.chars().count());
    let left = pad / 2 + (pad & width & 1);
    let side = |count| String::from_iter(std::iter::repeat_n(fill, count));
    format!("{}{text}{}", side(left), side(pad - left))
}
