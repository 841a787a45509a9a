//! Interned labels and ids: names in, each once and with a number, out. In a table of text, whose values have no types,
//! spellings of the same number or truth value become one name, as in typed tables.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

/// Interned names by number.
#[derive(Default)]
pub(super) struct NameInterner {
    list: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u32>,
}

impl NameInterner {
    /// The number of a name; a new one where it has none.
    pub(super) fn number(&mut self, name: String) -> u32 {
        if let Some(number) = self.numbers.get(name.as_str()) {
            return *number;
        }
        let (name, number): (Arc<str>, _) = (name.into(), self.list.len() as u32);
        self.list.push(name.clone());
        self.numbers.insert(name, number);
        number
    }

    /// All names, and for each number the index of its name among them. With `by_value`, where all are numbers or all
    /// are truth values, names of the same value become one: the shortest of them.
    pub(super) fn settled(self, by_value: bool) -> (Vec<Arc<str>>, Vec<u32>) {
        let same = (0..self.list.len() as u32).collect();
        let Some(values) = self.list.iter().map(|name| value(name)).collect::<Option<Vec<_>>>().filter(|_| by_value)
        else {
            return (self.list, same);
        };
        let truths = values.iter().filter(|value| matches!(value, Value::Truth(_))).count();
        if truths != 0 && truths != values.len() {
            return (self.list, same);
        }
        let (mut names, mut of_value): (Vec<Arc<str>>, HashMap<Value, u32>) = (Vec::new(), HashMap::new());
        let places = values.into_iter().zip(&self.list).map(|(value, name)| {
            let name = canonical(name);
            let place = *of_value.entry(value).or_insert(names.len() as u32);
            match names.get_mut(place as usize) {
                None => names.push(name),
                Some(known) if name.len() < known.len() => *known = name,
                Some(_) => {}
            }
            place
        });
        let places = places.collect();
        (names, places)
    }
}

/// The number or truth value that a text spells.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Value {
    /// A whole number, by sign and digits, of any length.
    Whole(bool, String),
    /// Another number, by its bits.
    Float(u64),
    Truth(bool),
}

/// The value of a text, as pandas infers it in a column of a table.
pub(super) fn value(text: &str) -> Option<Value> {
    match text {
        "true" | "True" | "TRUE" => return Some(Value::Truth(true)),
        "false" | "False" | "FALSE" => return Some(Value::Truth(false)),
        _ => {}
    }
    let text = text.trim_matches(' ');
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !digits.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        return None;
    }
    let whole = |negative: bool, digits: &str| {
        let digits = digits.trim_start_matches('0');
        Value::Whole(negative && !digits.is_empty(), digits.to_owned())
    };
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(whole(text.starts_with('-'), digits));
    }
    let float: f64 = text.parse().ok().filter(|float: &f64| float.is_finite())?;
    match float.fract() == 0.0 {
        true => Some(whole(float < 0.0, &format!("{:.0}", float.abs()))),
        false => Some(Value::Float(float.to_bits())),
    }
}

/// A whole number as a whole number is written: 1 for 1.0.
fn canonical(name: &Arc<str>) -> Arc<str> {
    match value(name) {
        Some(Value::Whole(negative, digits)) if name.contains(['.', 'e', 'E']) => {
            let digits = if digits.is_empty() { "0" } else { &digits };
            format!("{}{digits}", if negative { "-" } else { "" }).into()
        }
        _ => name.clone(),
    }
}

/// The order of names: numbers by value, then the others alphabetically.
pub(super) fn by_value(a: &str, b: &str) -> Ordering {
    let number = |name: &str| name.parse::<f64>().unwrap_or(f64::INFINITY);
    number(a).total_cmp(&number(b)).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(names: &[&str], by_value: bool) -> (Vec<String>, Vec<u32>) {
        let mut all = NameInterner::default();
        for name in names {
            all.number((*name).into());
        }
        let (names, places) = all.settled(by_value);
        (names.iter().map(ToString::to_string).collect(), places)
    }

    #[test]
    fn equal_numbers_of_a_table_are_one_name() {
        let of = |names: &[&str], expected: &[&str], places: &[u32]| {
            let expected: Vec<String> = expected.iter().map(ToString::to_string).collect();
            assert_eq!(settled(names, true), (expected, places.to_vec()));
        };
        of(&["1", "0", "1.0", "1e0", "0.5", "-0.0", " 1"], &["1", "0", "0.5"], &[0, 1, 0, 0, 2, 1, 0]);
        of(&["1.0", "2.0"], &["1", "2"], &[0, 1]);
        of(&["007", "08"], &["007", "08"], &[0, 1]);
        of(&["True", "false", "TRUE"], &["True", "false"], &[0, 1, 0]);
        of(&["1", "1.0", "one"], &["1", "1.0", "one"], &[0, 1, 2]);
        of(&["1", "True"], &["1", "True"], &[0, 1]);
        let large = "1180591620717411303424";
        of(&[large, "1180591620717411303425"], &[large, "1180591620717411303425"], &[0, 1]);
        assert_eq!(settled(&["1", "1.0"], false).0.len(), 2);
    }
}
