//! A client's state between its rounds, as it lies in the journal: its policies' memories, and the residual of its
//! uploads.

use std::sync::Arc;

use crate::compressor::{DamagedMemories, Memories};

const VERSION: u8 = 1;

/// Stored bytes that are no client's state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DamagedState {
    /// They begin otherwise.
    #[error("a client's state has format version {found}, this build reads version {VERSION}")]
    Version {
        /// The first byte.
        found: u8,
    },
    /// They end too early.
    #[error("a client's state is cut off: {needed} bytes needed, {found} left")]
    Cut {
        /// Bytes that should follow.
        needed: usize,
        /// Bytes that do.
        found: usize,
    },
    /// The residual of another layout.
    #[error("a client's residual has {found} values, the adapter has {expected}")]
    Residual {
        /// Values of the residual.
        found: usize,
        /// Values of the adapter.
        expected: usize,
    },
    /// The memories in it are damaged.
    #[error("a client's state: {0}")]
    Memories(#[from] DamagedMemories),
}

/// The state of one client between its rounds.
#[derive(Debug, Clone, Default)]
pub struct ClientState {
    /// For its policies.
    pub memories: Memories,
    /// The residual: the sum of what its uploads have left out so far, `P` values; none before the first upload.
    pub residual: Option<Arc<Vec<f32>>>,
}

impl ClientState {
    /// For the journal; empty where nothing is kept.
    pub fn to_bytes(&self) -> Vec<u8> {
        let memories = self.memories.to_bytes();
        let residual: &[f32] = self.residual.as_ref().map_or(&[], |residual| residual);
        if memories.is_empty() && residual.is_empty() {
            return Vec::new();
        }
        let mut out = Vec::with_capacity(5 + size_of_val(residual) + memories.len());
        out.push(VERSION);
        out.extend_from_slice(&(residual.len() as u32).to_le_bytes());
        out.extend(residual.iter().flat_map(|value| value.to_le_bytes()));
        out.extend_from_slice(&memories);
        out
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote, for an adapter of `values` values.
    ///
    /// # Errors
    /// When these are not exactly the bytes of such a state.
    pub fn from_bytes(bytes: &[u8], values: usize) -> Result<Self, DamagedState> {
        let Some((version, rest)) = bytes.split_first() else { return Ok(Self::default()) };
        if *version != VERSION {
            return Err(DamagedState::Version { found: *version });
        }
        let (length, rest) = rest.split_first_chunk().ok_or(DamagedState::Cut { needed: 4, found: rest.len() })?;
        let found = u32::from_le_bytes(*length) as usize;
        if found != 0 && found != values {
            return Err(DamagedState::Residual { found, expected: values });
        }
        let needed = found * size_of::<f32>();
        let (residual, memories) =
            rest.split_at_checked(needed).ok_or(DamagedState::Cut { needed, found: rest.len() })?;
        let residual: Vec<f32> = residual.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let residual = (!residual.is_empty()).then(|| Arc::new(residual));
        Ok(Self { memories: Memories::from_bytes(memories)?, residual })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Changes, Entries, Entry};

    fn state() -> ClientState {
        let mut entries = Entries::default();
        entries.insert("momentum", Entry::Bytes(Arc::new(vec![1, 2, 3])));
        let mut memories = Memories::default();
        memories.merge("policy", &Changes::from_bytes(&entries.to_bytes()).unwrap());
        ClientState { memories, residual: Some(Arc::new(vec![0.5, -1.0, f32::MIN_POSITIVE])) }
    }

    #[test]
    fn a_state_comes_back_from_its_bytes() {
        for residual in [state().residual, None] {
            let state = ClientState { residual, ..state() };
            let again = ClientState::from_bytes(&state.to_bytes(), 3).unwrap();
            assert_eq!((again.residual.clone(), again.to_bytes()), (state.residual.clone(), state.to_bytes()));
        }
        assert!(ClientState::default().to_bytes().is_empty());
        assert!(ClientState::from_bytes(&[], 3).unwrap().residual.is_none());
    }

    #[test]
    fn bytes_that_are_no_state_say_what_is_wrong() {
        let bytes = state().to_bytes();
        let text = |bytes: &[u8], values| ClientState::from_bytes(bytes, values).unwrap_err().to_string();
        assert_eq!(text(&bytes, 4), "a client's residual has 3 values, the adapter has 4");
        assert_eq!(text(&bytes[..9], 3), "a client's state is cut off: 12 bytes needed, 4 left");
        assert_eq!(text(&[9], 3), "a client's state has format version 9, this build reads version 1");
        for len in 1..bytes.len() {
            // What is left at the end of the residual is the state of a client without memories.
            assert!(len == 17 || ClientState::from_bytes(&bytes[..len], 3).is_err(), "length {len}");
        }
    }
}
