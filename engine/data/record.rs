//! A record of the data: its content, and its class in classification.

use super::Content;

/// One record of the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its text, conversation or image.
    pub content: Content,
    /// The index of its label in [`Dataset::classes`](super::Dataset::classes), where the task is classification.
    pub class: Option<u32>,
}
