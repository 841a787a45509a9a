//! Builders for the options that a policy declares: one call an option.

use crate::{OptionInfo, OptionKind, OptionValue};

fn declare(name: &str, kind: OptionKind, default: OptionValue, about: &str) -> OptionInfo {
    OptionInfo { name: name.into(), kind, default, about: about.into() }
}

/// A number in [0, 1] but not 0.
pub fn share(name: &str, default: f64, about: &str) -> OptionInfo {
    declare(name, OptionKind::Share, OptionValue::Number(default), about)
}

/// Any finite number.
pub fn number(name: &str, default: f64, about: &str) -> OptionInfo {
    declare(name, OptionKind::Number, OptionValue::Number(default), about)
}

/// An integer that is not negative.
pub fn count(name: &str, default: u32, about: &str) -> OptionInfo {
    declare(name, OptionKind::Count, OptionValue::Integer(default.into()), about)
}

/// One of these words; the first is the default.
pub fn choice(name: &str, words: &[&str], about: &str) -> OptionInfo {
    let default = words.first().copied().unwrap_or_default();
    let words = words.iter().copied().map(String::from).collect();
    declare(name, OptionKind::Choice(words), OptionValue::Text(default.into()), about)
}

/// true or false.
pub fn flag(name: &str, default: bool, about: &str) -> OptionInfo {
    declare(name, OptionKind::Flag, OptionValue::Flag(default), about)
}
