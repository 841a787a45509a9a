//! Conversations: a record's list of turns in; by the tokenizer's chat template, text and the places of the answers in it out.

mod answers;
mod conversation;
#[cfg(test)]
mod golden;
mod json;
mod python;
mod tags;
mod template;

#[cfg(test)]
pub(super) use conversation::tests::talk;
pub use conversation::Conversation;
pub(super) use conversation::Style;
pub(super) use template::ChatTemplate;
