//! Adapter values, flat, in layout order. Two types, so that a delta is never taken for weights.

use std::sync::Arc;

/// All adapter values `W`, in layout order; shared, since they are long.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterWeights(pub Arc<Vec<f32>>);

/// Local end minus local start: what a client's training changed, in layout order.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterDelta(pub Vec<f32>);

impl AdapterWeights {
    /// BLAKE3 over the little-endian values: two runs with the same hash have the same adapter to the bit.
    pub fn hash(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        let mut bytes = Vec::with_capacity(4 * 1024);
        for chunk in self.0.chunks(1024) {
            bytes.clear();
            bytes.extend(chunk.iter().flat_map(|value| value.to_le_bytes()));
            hasher.update(&bytes);
        }
        hasher.finalize()
    }
}
