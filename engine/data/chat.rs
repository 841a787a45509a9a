//! Conversations: a record's list of turns in; by the tokenizer's chat template, text and the places of the answers in it out.

mod answers;
mod conversation;
#[cfg(test)]
mod golden;
mod json;
mod limits;
mod methods;
mod python;
mod tags;
mod template;
mod to_json;
mod writing;

pub use conversation::Conversation;
pub(super) use conversation::Style;
#[cfg(test)]
pub(super) use conversation::tests::talk;
pub(super) use template::ChatTemplate;
