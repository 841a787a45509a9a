//! Options as the host hands them over: every declared one, the test's value or the default, each fitting its kind.

use crate::{Description, NamedOption, OptionKind, OptionValue, Options};

impl From<f64> for OptionValue {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<i64> for OptionValue {
    fn from(integer: i64) -> Self {
        Self::Integer(integer)
    }
}

impl From<i32> for OptionValue {
    fn from(integer: i32) -> Self {
        Self::Integer(integer.into())
    }
}

impl From<bool> for OptionValue {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<&str> for OptionValue {
    fn from(word: &str) -> Self {
        Self::Text(word.into())
    }
}

fn fits(kind: &OptionKind, value: &OptionValue) -> bool {
    match (kind, value) {
        (OptionKind::Share, OptionValue::Number(number)) => *number > 0.0 && *number <= 1.0,
        (OptionKind::Number, OptionValue::Number(number)) => number.is_finite(),
        (OptionKind::Count, OptionValue::Integer(integer)) => *integer >= 0,
        (OptionKind::Choice(words), OptionValue::Text(word)) => words.contains(word),
        (OptionKind::Flag, OptionValue::Flag(_)) => true,
        _ => false,
    }
}

/// The options as the host would hand them to `new`. Panics on what the host refuses before: unknown names, values
/// that do not fit, and defaults that do not.
#[track_caller]
pub fn checked_options(description: &Description, given: &[(&str, OptionValue)]) -> Options {
    for (name, _) in given {
        let known = description.options.iter().any(|option| option.name == *name);
        assert!(known, "policy {} declares no option `{name}`", description.name);
    }
    let named: Vec<NamedOption> = description
        .options
        .iter()
        .map(|option| {
            let found = given.iter().find(|(name, _)| option.name == *name);
            let value = found.map_or(&option.default, |(_, value)| value);
            assert!(fits(&option.kind, value), "option `{}` is {value:?}, which is no {:?}", option.name, option.kind);
            (option.name.clone(), value.clone())
        })
        .collect();
    Options::new(named)
}
