//! The checks of section `data`: what can be known of its values without reading anything.

use super::recipe::Recipe;
use super::{Config, DataError, Format, Source, Task};

impl Config {
    /// Checks what can be checked without reading anything.
    ///
    /// # Errors
    /// [`DataError::Value`] names the key, what was found and what is allowed; a template that does not parse is
    /// [`DataError::Template`].
    pub fn validate(&self) -> Result<(), DataError> {
        if self.max_tokens < 2 {
            return Err(DataError::value("data.max_tokens", self.max_tokens, "at least 2"));
        }
        if !(0.0..1.0).contains(&self.validation) {
            return Err(DataError::value("data.validation", self.validation, "in [0, 1)"));
        }
        if self.source == Source::File && self.path.is_none() {
            return Err(DataError::value("data.path", "not set", "a file, as data.source is `file`"));
        }
        if let (Source::Bundled, Some(path)) = (self.source, &self.path) {
            return Err(DataError::value("data.path", path.display(), "not set, as data.source is `bundled`"));
        }
        if self.packing && self.task != Task::Text {
            return Err(DataError::value("data.packing", true, "false unless data.task is `text`"));
        }
        self.validate_classes()?;
        Recipe::new(self, None).map(|_| ())
    }

    fn validate_classes(&self) -> Result<(), DataError> {
        let classifies = self.task == Task::Classification;
        let pictures = matches!(self.format, Format::ImageFolder | Format::Cifar10);
        if classifies && self.label.is_none() && !pictures && self.format != Format::Auto {
            return Err(DataError::value("data.label", "not set", "a field, as data.task is `classification`"));
        }
        if pictures && !classifies {
            let format = if self.format == Format::Cifar10 { "cifar10" } else { "image-folder" };
            let allowed = format!("`classification`, as data.format is `{format}`");
            return Err(DataError::value("data.task", format!("`{}`", self.task.name()), allowed));
        }
        let twice = self.classes.iter().enumerate().find(|(at, class)| self.classes[..*at].contains(class));
        match twice {
            Some((_, class)) => Err(DataError::value("data.classes", format!("`{class}` twice"), "each name once")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_config_is_valid() {
        Config::default().validate().unwrap();
    }

    #[test]
    fn a_bad_value_is_named_with_what_is_allowed() {
        let message = |change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            config.validate().unwrap_err().to_string()
        };
        assert_eq!(message(|c| c.max_tokens = 1), "data.max_tokens is 1, it must be at least 2");
        assert_eq!(message(|c| c.validation = 1.0), "data.validation is 1, it must be in [0, 1)");
        assert_eq!(message(|c| c.validation = f64::NAN), "data.validation is NaN, it must be in [0, 1)");
        assert!(message(|c| c.source = Source::File).contains("data.path is not set"));
    }

    #[test]
    fn a_task_asks_for_what_it_needs_and_refuses_what_it_cannot_use() {
        let message = |task, change: fn(&mut Config)| {
            let mut config = Config { task, format: Format::Jsonl, ..Config::default() };
            change(&mut config);
            config.validate().unwrap_err().to_string()
        };
        let error = message(Task::Classification, |_| {});
        assert_eq!(error, "data.label is not set, it must be a field, as data.task is `classification`");
        let error = message(Task::Text, |c| c.format = Format::Cifar10);
        assert_eq!(error, "data.task is `text`, it must be `classification`, as data.format is `cifar10`");
        let error = message(Task::Instruction, |c| (c.answer, c.packing) = (Some("{a}".into()), true));
        assert_eq!(error, "data.packing is true, it must be false unless data.task is `text`");
        let error = message(Task::Text, |c| c.classes = ["a", "b", "a"].map(String::from).into());
        assert_eq!(error, "data.classes is `a` twice, it must be each name once");
        let error = message(Task::Instruction, |_| {});
        assert!(error.starts_with("data.answer is not set, it must be a template"), "{error}");
        let error = message(Task::Classification, |c| (c.label, c.template) = (Some("l".into()), "messages".into()));
        assert!(error.starts_with("data.template is `messages`, it must be"), "{error}");
    }
}
