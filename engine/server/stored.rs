//! A client's answer as it lies in the journal: the frame, and what the client said as JSON beside it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::client::ClientUpdate;
use crate::journal::StoredUpdate;

/// What the journal keeps beside a frame.
#[derive(Serialize, Deserialize)]
struct Meta {
    /// Why the client was dropped; none when the frame is its update.
    dropped: Option<String>,
    examples: u64,
    loss: f64,
    steps: u32,
    tokens: u64,
    seconds: f64,
}

/// A stored answer, read back.
pub(super) enum StoredAnswer {
    Update(ClientUpdate),
    Dropped(String),
}

pub(super) fn update(position: u32, client: u32, update: &ClientUpdate) -> StoredUpdate {
    let ClientUpdate { frame, examples, loss, steps, tokens, seconds } = update;
    let meta =
        Meta { dropped: None, examples: *examples, loss: *loss, steps: *steps, tokens: *tokens, seconds: *seconds };
    StoredUpdate { position, client, frame: frame.to_vec(), meta: serde_json::json!(meta).to_string() }
}

pub(super) fn dropped(position: u32, client: u32, reason: &str) -> StoredUpdate {
    let meta = Meta { dropped: Some(reason.into()), examples: 0, loss: 0.0, steps: 0, tokens: 0, seconds: 0.0 };
    StoredUpdate { position, client, frame: Vec::new(), meta: serde_json::json!(meta).to_string() }
}

/// # Errors
/// Beside text that another version wrote.
pub(super) fn read(stored: StoredUpdate) -> Result<StoredAnswer, serde_json::Error> {
    let Meta { dropped, examples, loss, steps, tokens, seconds } = serde_json::from_str(&stored.meta)?;
    Ok(match dropped {
        Some(reason) => StoredAnswer::Dropped(reason),
        None => {
            let frame = Arc::new(stored.frame);
            StoredAnswer::Update(ClientUpdate { frame, examples, loss, steps, tokens, seconds })
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_comes_back_as_it_was_stored() {
        let answer =
            ClientUpdate { frame: Arc::new(vec![1, 2]), examples: 3, loss: 0.1, steps: 4, tokens: 5, seconds: 0.7 };
        let StoredAnswer::Update(read_back) = read(update(6, 7, &answer)).unwrap() else { panic!("an update") };
        assert_eq!(format!("{answer:?}"), format!("{read_back:?}"));
        let StoredAnswer::Dropped(reason) = read(dropped(6, 7, "late")).unwrap() else { panic!("a drop") };
        assert_eq!(reason, "late");
    }
}
