//! A client's answer as it lies in the journal: the frame, and the rest of the answer as JSON beside it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::client::ClientUpdate;
use crate::journal::StoredUpdate;

/// The JSON beside a frame.
#[derive(Serialize, Deserialize)]
struct Meta {
    /// The reason of the drop; none when the frame is the client's update.
    dropped: Option<String>,
    /// True where it was dropped because it was late.
    #[serde(default)]
    late: bool,
    steps: u32,
    tokens: u64,
    seconds: f64,
}

/// A stored answer, read back.
pub(super) enum StoredAnswer {
    Update(ClientUpdate),
    /// The outcome and its reason.
    Dropped(&'static str, String),
}

/// The update for the journal. The client's state moves into it.
pub(super) fn update(position: u32, client: u32, update: &mut ClientUpdate) -> StoredUpdate {
    let ClientUpdate { frame, state, steps, tokens, seconds } = update;
    let meta = Meta { dropped: None, late: false, steps: *steps, tokens: *tokens, seconds: *seconds };
    let state = state.take().unwrap_or_default();
    StoredUpdate { position, client, frame: frame.to_vec(), meta: serde_json::json!(meta).to_string(), state }
}
/// The drop of a client for the journal.

pub(super) fn dropped(position: u32, client: u32, outcome: &str, reason: &str) -> StoredUpdate {
    let meta = Meta { dropped: Some(reason.into()), late: outcome == "late", steps: 0, tokens: 0, seconds: 0.0 };
    let (frame, state) = (Vec::new(), Vec::new());
    StoredUpdate { position, client, frame, meta: serde_json::json!(meta).to_string(), state }
}

/// Reads a stored answer back.
///
/// Reads a stored answer back.
///
/// # Errors
/// Beside text that another version wrote.
pub(super) fn read(stored: StoredUpdate) -> Result<StoredAnswer, serde_json::Error> {
    let Meta { dropped, late, steps, tokens, seconds } = serde_json::from_str(&stored.meta)?;
    Ok(match dropped {
        Some(reason) => StoredAnswer::Dropped(if late { "late" } else { "failed" }, reason),
        None => {
            let (frame, state) = (Arc::new(stored.frame), (!stored.state.is_empty()).then_some(stored.state));
            StoredAnswer::Update(ClientUpdate { frame, state, steps, tokens, seconds })
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_comes_back_as_it_was_stored() {
        for state in [None, Some(vec![8, 9])] {
            let answer = ClientUpdate { frame: Arc::new(vec![1, 2]), state, steps: 4, tokens: 5, seconds: 0.7 };
            let stored = update(6, 7, &mut answer.clone());
            let StoredAnswer::Update(read_back) = read(stored).unwrap() else { panic!("an update") };
            assert_eq!(format!("{answer:?}"), format!("{read_back:?}"));
        }
        for known in ["late", "failed"] {
            let StoredAnswer::Dropped(outcome, reason) = read(dropped(6, 7, known, "why")).unwrap() else {
                panic!("a drop")
            };
            assert_eq!((outcome, reason.as_str()), (known, "why"));
        }
    }
}
