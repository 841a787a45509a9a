//! Conversations: a record's list of turns in; the text by the tokenizer's chat template and the byte ranges of the
//! answers in it out.

mod answers;
mod conversation;
mod generation_tags;
#[cfg(test)]
mod golden;
mod limits;
mod ordered_json;
mod python_functions;
mod python_methods;
mod python_repr;
mod template;
mod to_json;

pub use conversation::Conversation;
pub(super) use conversation::Style;
#[cfg(test)]
pub(super) use conversation::tests::talk;
pub(super) use template::ChatTemplate;
