//! The fixed front of a frame: fields in, 34 bytes out, and back.

use super::WireError;
use super::cursor::Cursor;

/// The format that this build writes and reads.
pub const VERSION: u8 = 1;

/// The client number of a frame that goes to the whole cohort.
pub const BROADCAST: u32 = u32::MAX;

pub(super) const MAGIC: [u8; 4] = *b"CELM";

/// Bytes from the magic to the sequence number.
pub(super) const HEADER_BYTES: usize = 34;

/// Which way a frame travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FrameKind {
    /// Server to client.
    Download = 1,
    /// Client to server.
    Upload = 2,
}

/// What a frame says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Which way it travels.
    pub kind: FrameKind,
    /// [`LayoutHash::short`](crate::adapter::LayoutHash::short) of the adapter.
    pub layout: u64,
    /// Short hash of the policy that encoded it.
    pub policy: u64,
    /// The round it belongs to.
    pub round: u32,
    /// The client's number in the roster, or [`BROADCAST`].
    pub client: u32,
    /// Distinguishes frames of the same round, client and kind.
    pub sequence: u32,
}

impl Header {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[VERSION, self.kind as u8]);
        out.extend_from_slice(&self.layout.to_le_bytes());
        out.extend_from_slice(&self.policy.to_le_bytes());
        out.extend_from_slice(&self.round.to_le_bytes());
        out.extend_from_slice(&self.client.to_le_bytes());
        out.extend_from_slice(&self.sequence.to_le_bytes());
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
            [found] => return Err(WireError::Kind { found }),
        };
        Ok(Self {
            kind,
            layout: u64::from_le_bytes(cursor.array()?),
            policy: u64::from_le_bytes(cursor.array()?),
            round: u32::from_le_bytes(cursor.array()?),
            client: u32::from_le_bytes(cursor.array()?),
            sequence: u32::from_le_bytes(cursor.array()?),
        })
    }
}
