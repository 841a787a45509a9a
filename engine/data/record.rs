//! One record: what it holds, and its class where records have one.

use super::Content;

/// One record of the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What it holds.
    pub content: Content,
    /// The place of its label among [`Dataset::classes`](super::Dataset::classes), where the task is classification.
    pub class: Option<u32>,
}
