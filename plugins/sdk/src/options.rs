//! The options that the host hands to `new`, looked up by name.

use crate::{NamedOption, OptionValue, PolicyError};

/// Every declared option with its value: the user's, or the default.
#[derive(Debug, Clone, PartialEq)]
pub struct Options(Vec<NamedOption>);

impl Options {
    /// From what the host hands over.
    pub fn new(named: Vec<NamedOption>) -> Self {
        Self(named)
    }

    /// The value of a declared option, made sense of by `read`.
    fn find<'a, T>(
        &'a self,
        name: &str,
        kind: &str,
        read: impl Fn(&'a OptionValue) -> Option<T>,
    ) -> Result<T, PolicyError> {
        let Some((_, value)) = self.0.iter().find(|(known, _)| known == name) else {
            return Err(PolicyError::Other(format!("the option `{name}` is read but not declared")));
        };
        // The value itself is not shown: printing floats is a third of a small component.
        read(value).ok_or_else(|| PolicyError::Other(format!("the option `{name}` is {}, read as {kind}", held(value))))
    }

    /// The value of an option of kind `share` or `number`. An option that was not declared is an error.
    pub fn number(&self, name: &str) -> Result<f64, PolicyError> {
        self.find(name, "a number", |value| match value {
            OptionValue::Number(number) => Some(*number),
            OptionValue::Integer(integer) => Some(*integer as f64),
            _ => None,
        })
    }

    /// The value of an option of kind `count`; what is above `u32::MAX` becomes `u32::MAX`.
    pub fn count(&self, name: &str) -> Result<u32, PolicyError> {
        self.find(name, "a count", |value| match value {
            OptionValue::Integer(integer) => Some(u32::try_from((*integer).max(0)).unwrap_or(u32::MAX)),
            _ => None,
        })
    }

    /// The value of an option of kind `flag`.
    pub fn flag(&self, name: &str) -> Result<bool, PolicyError> {
        self.find(name, "a flag", |value| match value {
            OptionValue::Flag(flag) => Some(*flag),
            _ => None,
        })
    }

    /// The word of an option of kind `choice`.
    pub fn text(&self, name: &str) -> Result<&str, PolicyError> {
        self.find(name, "a word", |value| match value {
            OptionValue::Text(word) => Some(word.as_str()),
            _ => None,
        })
    }
}

/// The kind of a value, in words.
fn held(value: &OptionValue) -> &'static str {
    match value {
        OptionValue::Number(_) => "a number",
        OptionValue::Integer(_) => "a count",
        OptionValue::Text(_) => "a word",
        OptionValue::Flag(_) => "a flag",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Options {
        Options::new(vec![
            ("decay".into(), OptionValue::Number(0.5)),
            ("every".into(), OptionValue::Integer(7)),
            ("signs".into(), OptionValue::Flag(true)),
            ("mean".into(), OptionValue::Text("participants".into())),
        ])
    }

    #[test]
    fn options_are_found_by_name() {
        assert_eq!(options().number("decay"), Ok(0.5));
        assert_eq!(options().number("every"), Ok(7.0));
        assert_eq!(options().count("every"), Ok(7));
        assert_eq!(options().flag("signs"), Ok(true));
        assert_eq!(options().text("mean"), Ok("participants"));
    }

    #[test]
    fn an_undeclared_or_misread_option_names_itself() {
        let message = |error: PolicyError| match error {
            PolicyError::Other(message) => message,
            _ => String::new(),
        };
        assert_eq!(message(options().count("evry").unwrap_err()), "the option `evry` is read but not declared");
        assert_eq!(message(options().flag("mean").unwrap_err()), "the option `mean` is a word, read as a flag");
        assert_eq!(message(options().text("every").unwrap_err()), "the option `every` is a count, read as a word");
    }
}
