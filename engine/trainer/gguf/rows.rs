//! The rows of a matrix as a GGUF file stores them: bytes of blocks in, f32 rows, or products with them, in the order of
//! Hugging Face checkpoints out.

use std::ops::Range;

use super::block_type::BlockType;

/// The order of a matrix's rows in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::trainer) enum RowOrder {
    /// That of the checkpoint.
    Same,
    /// The two rows of a rotary pair side by side, where the checkpoint has the first rows of a head's pairs before the
    /// second ones: llama.cpp's order for a Llama's queries and keys.
    Interleaved {
        /// Rows of a head.
        head: usize,
    },
}

/// The type and order of stored rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::trainer) struct StoredRows {
    pub kind: BlockType,
    pub order: RowOrder,
    /// Values of a row.
    pub width: usize,
}

impl RowOrder {
    /// The place in the file of a row of the checkpoint.
    pub fn stored(self, row: usize) -> usize {
        match self {
            Self::Same => row,
            Self::Interleaved { head } => {
                let (first, within) = (row - row % head, row % head);
                first + 2 * (within % (head / 2)) + within / (head / 2)
            }
        }
    }
}

impl StoredRows {
    /// Bytes of a row.
    pub fn bytes(&self) -> usize {
        self.width / self.kind.values() * self.kind.bytes()
    }

    /// Writes some rows of the checkpoint, `rows.len() * width` values.
    pub fn write(&self, stored: &[u8], rows: Range<usize>, to: &mut [f32]) {
        let length = self.bytes();
        if self.order == RowOrder::Same {
            return self.kind.write_values(&stored[rows.start * length..rows.end * length], to);
        }
        for (row, to) in rows.zip(to.chunks_exact_mut(self.width)) {
            let first = self.order.stored(row) * length;
            self.kind.write_values(&stored[first..first + length], to);
        }
    }
    /// Writes the products of some rows of the checkpoint with `input`, `width` values: a number a row.
    pub fn write_products(&self, stored: &[u8], rows: Range<usize>, input: &[f32], to: &mut [f32]) {
        let length = self.bytes();
        let row = |row: usize| &stored[self.order.stored(row) * length..][..length];
        self.kind.write_products(rows.map(row), input, to);
    }
}
