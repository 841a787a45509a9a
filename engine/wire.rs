//! Wire: turns a policy's [`Message`](crate::adapter::Message) into the bytes of one frame and back.
//!
//! A frame, all numbers little endian:
//!
//! | bytes | what |
//! |---|---|
//! | 4 | magic `CELM` |
//! | 1 | format version, [`VERSION`] |
//! | 1 | kind: 1 download, 2 upload, 3 catch-up, 4 verdict |
//! | 4 | layout hash: client and server must mean the same tensors |
//! | 4 | policy hash: client and server must run the same component |
//! | varint | round |
//! | varint | the client's number plus 1; 0 is the whole cohort, [`BROADCAST`] |
//! | varint | downloads and catch-up alone: sequence, the number of a tracked broadcast |
//! | varint | uploads alone: the client's training examples |
//! | 4 | uploads alone: the client's training loss as f32, NaN where it has none |
//! | varint | number of parts |
//! | parts | a head (one byte of coding, then varints), then its payload |
//! | 4 | lower half of the xxh3-64 of everything before it |
//!
//! Indices travel in the cheapest of three codings, chosen by their exact sizes (see `indices`), values as f32, f16 or
//! bf16, codes packed into their bits. [`Frame::read`] takes any bytes and never panics; [`Frame::decode`] never
//! allocates beyond [`Limits`] nor beyond what the length of the input can justify. A [`Frame`] is read once, where its bytes come
//! in, and handed on.

mod bitmap;
mod bits;
mod codes;
mod cursor;
mod error;
mod frame;
mod header;
mod indices;
mod part;
mod piece;
mod rice;
mod values;

pub use error::WireError;
pub use frame::{ByteSplit, Frame};
pub use header::{BROADCAST, FrameKind, Header, UploadHeader, VERSION};
pub use part::Limits;
