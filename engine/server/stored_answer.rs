//! A client's answer as it lies in the journal: the frame, and the rest of the answer as JSON beside it.

use serde::{Deserialize, Serialize};

use crate::journal::StoredUpdate;
use crate::link::ClientUpdate;

/// The JSON beside a frame.
#[derive(Serialize, Deserialize)]
struct Meta {
    /// The reason of the drop; none when the frame is the client's update.
    dropped: Option<String>,
    /// True where it was dropped because it was late.
    #[serde(default)]
    late: bool,
    steps: u32,
    seconds: f64,
}

/// A stored answer, read back.
pub(super) enum StoredAnswer {
    Update(ClientUpdate),
    /// The outcome and its reason.
    Dropped(&'static str, String),
}

/// The update for the journal. The client's state moves into it.
pub(super) fn update(position: u32, update: &mut ClientUpdate) -> StoredUpdate {
    let ClientUpdate { frame, state, steps, seconds } = update;
    let meta = Meta { dropped: None, late: false, steps: *steps, seconds: *seconds };
    let state = state.take().unwrap_or_default();
    StoredUpdate { position, frame: Some(frame.clone()), meta: serde_json::json!(meta).to_string(), state }
}

/// The drop of a client for the journal.
pub(super) fn dropped(position: u32, outcome: &str, reason: &str) -> StoredUpdate {
    let meta = Meta { dropped: Some(reason.into()), late: outcome == "late", steps: 0, seconds: 0.0 };
    let (frame, state) = (None, Vec::new());
    StoredUpdate { position, frame, meta: serde_json::json!(meta).to_string(), state }
}

/// The answer as it was stored; none where another version wrote it so that this one cannot read it.
pub(super) fn read(stored: StoredUpdate) -> Option<StoredAnswer> {
    let Meta { dropped, late, steps, seconds } = serde_json::from_str(&stored.meta).ok()?;
    Some(match dropped {
        Some(reason) => StoredAnswer::Dropped(if late { "late" } else { "failed" }, reason),
        None => {
            let (frame, state) = (stored.frame?, (!stored.state.is_empty()).then_some(stored.state));
            StoredAnswer::Update(ClientUpdate { frame, state, steps, seconds })
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::Message;
    use crate::wire::{Frame, FrameKind, Header, UploadHeader};

    #[test]
    fn an_answer_comes_back_as_it_was_stored() {
        let (kind, upload) = (FrameKind::Upload, UploadHeader { examples: 3, loss: Some(0.5) });
        let header = Header { kind, layout: 1, policy: 2, round: 3, client: 7, sequence: 0, upload };
        let frame = Frame::encode(&header, &Message::default()).unwrap();
        for state in [None, Some(vec![8, 9])] {
            let answer = ClientUpdate { frame: frame.clone(), state, steps: 4, seconds: 0.7 };
            let stored = update(6, &mut answer.clone());
            let StoredAnswer::Update(read_back) = read(stored).unwrap() else { panic!("an update") };
            assert_eq!(format!("{answer:?}"), format!("{read_back:?}"));
        }
        for known in ["late", "failed"] {
            let StoredAnswer::Dropped(outcome, reason) = read(dropped(6, known, "why")).unwrap() else {
                panic!("a drop")
            };
            assert_eq!((outcome, reason.as_str()), (known, "why"));
        }
    }
}
