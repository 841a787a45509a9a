//! Records, as read.

use std::sync::Arc;

/// One record of the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its text, the template applied.
    pub text: String,
    /// Its label, where `data.label` names a field. Equal labels share their text.
    pub label: Option<Arc<str>>,
    /// What `partition.by` makes of it, where that is asked for: the client (natural-id) or the class (dirichlet). Equal ids share their text.
    pub natural_id: Option<Arc<str>>,
}
