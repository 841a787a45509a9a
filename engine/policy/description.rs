//! A policy's description of itself: checked on loading, so that nothing in it can harm whoever shows it, keys memory
//! by it or checks options against it.

use std::collections::BTreeSet;

use super::bindings::cellm::policy::types::{Description, OptionInfo, OptionKind, OptionValue};
use super::options::{allowed, fits, shown};

/// Settings that every compressor has, beside its own options.
const SETTINGS: [&str; 2] = ["direction", "bits"];
/// The longest name, version or word, bytes.
const WORD_BYTES: usize = 64;
/// The longest text for the user, bytes.
const TEXT_BYTES: usize = 2000;
/// The most options, and the most words of a choice.
const ITEMS: usize = 64;

/// An option of a policy, for the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionHelp {
    /// Its key in `options`.
    pub name: String,
    /// Accepted values, in words.
    pub allowed: String,
    /// The value that is taken where the user gives none.
    pub default: String,
    /// One sentence.
    pub about: String,
}

pub(super) fn help(option: &OptionInfo) -> OptionHelp {
    let (allowed, default) = (allowed(&option.kind), shown(&option.default));
    OptionHelp { name: option.name.clone(), allowed, default, about: option.about.clone() }
}

/// Says what is wrong with a description.
pub(super) fn check(described: &Description) -> Result<(), String> {
    word("its name", &described.name)?;
    version(&described.version)?;
    text("its about", &described.about)?;
    limited("its options", described.options.len())?;
    let mut names = BTreeSet::new();
    for option in &described.options {
        let name = &option.name;
        word("the name of an option", name)?;
        if SETTINGS.contains(&name.as_str()) {
            return Err(format!("option {name} has the name of a setting that every compressor has"));
        }
        if !names.insert(name) {
            return Err(format!("it has two options {name}"));
        }
        text(&format!("the about of option {name}"), &option.about)?;
        kind(option)?;
    }
    Ok(())
}

fn kind(option: &OptionInfo) -> Result<(), String> {
    let name = &option.name;
    if let OptionKind::Choice(words) = &option.kind {
        limited(&format!("the words of option {name}"), words.len())?;
        if words.is_empty() {
            return Err(format!("option {name} is a choice of no words"));
        }
        words.iter().try_for_each(|of| word(&format!("a word of option {name}"), of))?;
        if words.iter().collect::<BTreeSet<_>>().len() < words.len() {
            return Err(format!("option {name} has a word twice: {}", words.join(", ")));
        }
    }
    if fits(&option.kind, &option.default) {
        return Ok(());
    }
    let mut default = shown(&option.default);
    default.truncate(default.floor_char_boundary(WORD_BYTES));
    // Only a text is quoted: it may hold anything.
    if matches!(option.default, OptionValue::Text(_)) {
        default = format!("{default:?}");
    }
    Err(format!("the default of option {name} is {default}, allowed: {}", allowed(&option.kind)))
}

/// Letters, digits and a few signs, beginning with a letter or a digit.
fn word(what: &str, found: &str) -> Result<(), String> {
    length(what, found, WORD_BYTES)?;
    let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.' | '+');
    if found.chars().all(plain) && found.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        return Ok(());
    }
    Err(format!("{what} is {found:?}, allowed are letters, digits, - _ . + and a letter or digit first"))
}

fn version(found: &str) -> Result<(), String> {
    word("its version", found)?;
    let numbers: Vec<&str> = found.split(['-', '+']).next().unwrap_or_default().split('.').collect();
    let number = |of: &&str| !of.is_empty() && of.bytes().all(|digit| digit.is_ascii_digit());
    if numbers.len() == 3 && numbers.iter().all(number) {
        return Ok(());
    }
    Err(format!("its version is {found:?}, expected three numbers such as 1.2.3"))
}

fn text(what: &str, found: &str) -> Result<(), String> {
    if found.len() > TEXT_BYTES {
        return Err(format!("{what} has {} bytes, limit {TEXT_BYTES}", found.len()));
    }
    match found.chars().find(|letter| letter.is_control()) {
        Some(letter) => Err(format!("{what} has the control character {letter:?}")),
        None => Ok(()),
    }
}

fn length(what: &str, found: &str, limit: usize) -> Result<(), String> {
    match found.len() {
        0 => Err(format!("{what} is empty")),
        found if found > limit => Err(format!("{what} has {found} bytes, limit {limit}")),
        _ => Ok(()),
    }
}

fn limited(what: &str, found: usize) -> Result<(), String> {
    if found <= ITEMS { Ok(()) } else { Err(format!("{what} are {found}, limit {ITEMS}")) }
}

#[cfg(test)]
mod tests {
    use super::super::bindings::cellm::policy::types::Capabilities;
    use super::*;

    fn good() -> Description {
        let option = |name: &str, kind, default| OptionInfo { name: name.into(), kind, default, about: "One.".into() };
        Description {
            name: "my-idea".into(),
            version: "1.0.0-beta.2".into(),
            about: "Does something.".into(),
            capabilities: Capabilities::empty(),
            options: vec![
                option("share", OptionKind::Share, OptionValue::Number(0.5)),
                option("words", OptionKind::Choice(vec!["a".into(), "b".into()]), OptionValue::Text("b".into())),
                option("count", OptionKind::Count, OptionValue::Integer(0)),
            ],
        }
    }

    fn refused(change: impl FnOnce(&mut Description)) -> String {
        let mut description = good();
        change(&mut description);
        check(&description).unwrap_err()
    }

    #[test]
    fn a_sound_description_passes_and_every_lie_is_named() {
        assert_eq!(check(&good()), Ok(()));
        assert_eq!(refused(|it| it.name.clear()), "its name is empty");
        assert_eq!(refused(|it| it.name = "n".repeat(65)), "its name has 65 bytes, limit 64");
        assert!(refused(|it| it.name = "../../etc".into()).contains("\"../../etc\""));
        assert!(refused(|it| it.name = "red\u{1b}[31m".into()).contains("allowed are letters"));
        assert!(refused(|it| it.version = "one".into()).contains("three numbers"));
        assert!(refused(|it| it.about = "a".repeat(1 << 20)).contains("1048576 bytes, limit 2000"));
        assert!(refused(|it| it.about = "a\u{7}".into()).contains("control character"));
        assert_eq!(refused(|it| it.options[1].name = "share".into()), "it has two options share");
        assert!(refused(|it| it.options[0].name.clear()).contains("is empty"));
        assert!(refused(|it| it.options[0].name = "bits".into()).contains("name of a setting"));
        assert!(refused(|it| it.options = vec![it.options[0].clone(); 65]).contains("65, limit 64"));
        let default = |value: OptionValue| refused(|it| it.options[0].default = value);
        assert!(default(OptionValue::Number(0.0)).contains("the default of option share is 0.0, allowed"));
        assert!(default(OptionValue::Number(f64::NAN)).contains("NaN"));
        assert!(default(OptionValue::Text("0.5".into())).contains("is \"0.5\", allowed"));
        assert!(default(OptionValue::Text("x".repeat(1 << 20))).len() < 300);
        assert!(refused(|it| it.options[1].default = OptionValue::Text("c".into())).contains("one of a, b"));
        assert!(refused(|it| it.options[1].kind = OptionKind::Choice(vec![])).contains("a choice of no words"));
        assert!(refused(|it| it.options[2].default = OptionValue::Integer(-1)).contains("is -1, allowed: an integer"));
    }
}
