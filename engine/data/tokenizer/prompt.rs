//! Prompts: what a user asks in, the tokens that a model goes on from out.

use super::super::chat::Conversation;
use super::super::field_mapping::FieldMapping;
use super::super::{Config, DataError};
use super::Tokenizer;

/// The form of a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PromptForm {
    /// The text as it is.
    Raw,
    /// The turn of a user in the tokenizer's chat template, with the beginning of the answer.
    Chat,
    /// The one field of the prompt of `data.template`, up to the answer.
    Record,
}

impl PromptForm {
    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Chat => "chat",
            Self::Record => "record",
        }
    }

    /// The form in which a model that is trained by this config meets its prompts.
    pub fn of(config: &Config) -> Self {
        match FieldMapping::new(config, None) {
            Ok(mapping) if mapping.reads_chats() => Self::Chat,
            Ok(mapping) if mapping.has_answers() => Self::Record,
            _ => Self::Raw,
        }
    }
}

impl Tokenizer {
    /// The tokens of a prompt: those that training makes of it, up to where its answer begins. `system` is the system's
    /// turn of a chat, and refused in other forms; `config` is read where the form is of a record.
    ///
    /// # Errors
    /// [`DataError`] where there is no chat template or it refuses the turns, where the template of records has not
    /// exactly one field, or where the text cannot be encoded.
    pub fn prompt(
        &self,
        form: PromptForm,
        text: &str,
        system: Option<&str>,
        config: &Config,
    ) -> Result<Vec<u32>, DataError> {
        if let (Some(system), PromptForm::Raw | PromptForm::Record) = (system, form) {
            let allowed = format!("not set, as the prompt is no chat (its form is {})", form.name());
            return Err(DataError::value("--system", format!("`{system}`"), allowed));
        }
        let mut tokens = match form {
            PromptForm::Raw => self.encode(text)?,
            PromptForm::Record => self.encode(&FieldMapping::new(config, None)?.prompt(text)?)?,
            PromptForm::Chat => {
                let conversation = Conversation::prompt(system, text);
                let rendered = self.template(false)?.prompt(&conversation);
                let rendered = rendered.map_err(|reason| self.failed(format!("chat template: {reason}")))?;
                return Ok(self.encode_placed(&rendered, false)?.get_ids().to_vec());
            }
        };
        // A post-processor that ends every text would end it before its continuation.
        if tokens.last().is_some_and(|last| self.ends.contains(last)) && tokens.len() > 1 {
            tokens.pop();
        }
        Ok(tokens)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{chatting, words};
    use super::*;
    use crate::data::Task;

    const TEMPLATE: &str = "{{ bos_token }} {% for m in messages %}{{ m.role }} {{ m.content }} or {% endfor %}\
                            {% if add_generation_prompt %}be {% endif %}";

    #[test]
    fn a_chat_begins_its_answer_and_other_forms_refuse_a_system() {
        let config = Config::default();
        let tokens = |system| chatting(TEMPLATE).prompt(PromptForm::Chat, "to", system, &config).unwrap();
        assert_eq!(tokens(None), [0, 1, 2, 4, 3]);
        assert_eq!(tokens(Some("be")), [0, 1, 3, 4, 1, 2, 4, 3]);
        let error = words().prompt(PromptForm::Raw, "to", Some("be"), &config).unwrap_err().to_string();
        assert_eq!(error, "--system is `be`, it must be not set, as the prompt is no chat (its form is raw)");
        let error = words().prompt(PromptForm::Chat, "to", None, &config).unwrap_err().to_string();
        assert!(error.starts_with("tokenizer words: it has no chat template"), "{error}");
    }

    #[test]
    fn a_record_is_its_template_up_to_the_answer() {
        let mut config = Config {
            task: Task::Instruction,
            template: "to {q} or".into(),
            answer: Some(" {a}".into()),
            ..Config::default()
        };
        assert_eq!(PromptForm::of(&config), PromptForm::Record);
        assert_eq!(words().prompt(PromptForm::Record, "be", None, &config).unwrap(), [0, 2, 3, 4]);
        config.template = "{q} or {text}".into();
        let error = words().prompt(PromptForm::Record, "be", None, &config).unwrap_err().to_string();
        assert_eq!(
            error,
            "data.template is `{q} or {text}`, it must be one field, as a prompt gives one: it has q, text"
        );
    }

    #[test]
    fn the_form_is_that_of_training() {
        let of =
            |task, template: &str| PromptForm::of(&Config { task, template: template.into(), ..Config::default() });
        assert_eq!(of(Task::Text, "{text}"), PromptForm::Raw);
        assert_eq!(of(Task::Text, "messages"), PromptForm::Chat);
        assert_eq!(of(Task::Instruction, "sharegpt"), PromptForm::Chat);
        assert_eq!(of(Task::Instruction, "dolly"), PromptForm::Record);
    }

    #[test]
    fn an_end_that_the_post_processor_adds_does_not_end_the_prompt() {
        let mut tokenizer = words();
        tokenizer.ends = vec![3];
        assert_eq!(tokenizer.prompt(PromptForm::Raw, "to be", None, &Config::default()).unwrap(), [0, 2]);
    }
}
