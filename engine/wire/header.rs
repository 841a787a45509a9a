//! The front of a frame: fields in, some twenty bytes out, and back.

use super::WireError;
use super::cursor::{Cursor, varint_bytes, write_varint};

/// The format that this build writes and reads.
pub const VERSION: u8 = 3;

/// The client number of a frame that goes to the whole cohort.
pub const BROADCAST: u32 = u32::MAX;

pub(super) const MAGIC: [u8; 4] = *b"CELM";

/// Bytes of what is always there and of one length: magic, version, kind, and two hashes.
const FIXED_BYTES: usize = 14;

/// The direction and purpose of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FrameKind {
    /// Server to client.
    Download = 1,
    /// Client to server.
    Upload = 2,
    /// Server to client, before a download: what a client needs that has missed rounds.
    CatchUp = 3,
    /// Server to client, after an upload: whether the client keeps what it remembers of the round.
    Verdict = 4,
}

/// A client's figures of its update, which travel with every upload.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct UploadHeader {
    /// Training examples that it has.
    pub examples: u32,
    /// Mean loss of its local training, nats a token; none where it predicted nothing. Finite.
    pub loss: Option<f32>,
}

/// The head of a frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Header {
    /// Its direction and purpose.
    pub kind: FrameKind,
    /// [`LayoutHash::short`](crate::adapter::LayoutHash::short) of the adapter.
    pub layout: u32,
    /// Short hash of the policy that encoded it.
    pub policy: u32,
    /// The round it belongs to.
    pub round: u32,
    /// The client's number in the roster, or [`BROADCAST`].
    pub client: u32,
    /// Number of the broadcast of a tracked download, or the last one that a snapshot has in it; else 0. Only downloads and
    /// catch-up carry it.
    pub sequence: u32,
    /// The client's figures, in an upload; in every other frame they are empty and take no bytes.
    pub upload: UploadHeader,
}

impl FrameKind {
    /// True for frames that carry a sequence number.
    fn has_sequence(self) -> bool {
        matches!(self, Self::Download | Self::CatchUp)
    }
}

impl Header {
    /// Its length, bytes.
    pub(super) fn bytes(&self) -> usize {
        let mut bytes = FIXED_BYTES + varint_bytes(self.round) + varint_bytes(self.addressee());
        if self.kind.has_sequence() {
            bytes += varint_bytes(self.sequence);
        }
        if self.kind == FrameKind::Upload {
            bytes += varint_bytes(self.upload.examples) + size_of::<f32>();
        }
        bytes
    }

    /// The client as it travels: 0 for all, so that a broadcast's takes one byte.
    fn addressee(&self) -> u32 {
        self.client.wrapping_sub(BROADCAST)
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[VERSION, self.kind as u8]);
        out.extend_from_slice(&self.layout.to_le_bytes());
        out.extend_from_slice(&self.policy.to_le_bytes());
        write_varint(out, self.round);
        write_varint(out, self.addressee());
        if self.kind.has_sequence() {
            write_varint(out, self.sequence);
        }
        if self.kind == FrameKind::Upload {
            write_varint(out, self.upload.examples);
            out.extend_from_slice(&self.upload.loss.unwrap_or(f32::NAN).to_le_bytes());
        }
    }

    pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<Self, WireError> {
        let magic = cursor.array()?;
        if magic != MAGIC {
            return Err(WireError::Magic { found: magic, expected: MAGIC });
        }
        let [version] = cursor.array()?;
        if version != VERSION {
            return Err(WireError::Version { found: version, expected: VERSION });
        }
        let kind = match cursor.array()? {
            [1] => FrameKind::Download,
            [2] => FrameKind::Upload,
            [3] => FrameKind::CatchUp,
            [4] => FrameKind::Verdict,
            [found] => return Err(WireError::Kind { found }),
        };
        let mut header = Self {
            kind,
            layout: u32::from_le_bytes(cursor.array()?),
            policy: u32::from_le_bytes(cursor.array()?),
            round: cursor.varint()?,
            client: cursor.varint()?.wrapping_add(BROADCAST),
            sequence: 0,
            upload: UploadHeader::default(),
        };
        if kind.has_sequence() {
            header.sequence = cursor.varint()?;
        }
        if kind == FrameKind::Upload {
            header.upload.examples = cursor.varint()?;
            header.upload.loss = match f32::from_le_bytes(cursor.array()?) {
                found if found.is_infinite() => return Err(WireError::Loss { found }),
                found => (!found.is_nan()).then_some(found),
            };
        }
        Ok(header)
    }
}
