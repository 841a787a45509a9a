//! Sections `download` and `upload`: which policy compresses a direction, and how hard.

use serde::{Deserialize, Serialize};

/// Width of a value on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub enum Bits {
    /// Codes of one bit.
    One,
    /// Codes of two bits.
    Two,
    /// Codes of three bits.
    Three,
    /// Codes of four bits.
    Four,
    /// Codes of eight bits.
    Eight,
    /// IEEE half precision.
    Sixteen,
    /// IEEE single precision.
    ThirtyTwo,
}

impl TryFrom<u32> for Bits {
    type Error = String;

    fn try_from(bits: u32) -> Result<Self, String> {
        match bits {
            1 => Ok(Self::One),
            2 => Ok(Self::Two),
            3 => Ok(Self::Three),
            4 => Ok(Self::Four),
            8 => Ok(Self::Eight),
            16 => Ok(Self::Sixteen),
            32 => Ok(Self::ThirtyTwo),
            other => Err(format!("bits is {other}, allowed: 1, 2, 3, 4, 8, 16, 32")),
        }
    }
}

impl From<Bits> for u32 {
    fn from(bits: Bits) -> Self {
        match bits {
            Bits::One => 1,
            Bits::Two => 2,
            Bits::Three => 3,
            Bits::Four => 4,
            Bits::Eight => 8,
            Bits::Sixteen => 16,
            Bits::ThirtyTwo => 32,
        }
    }
}

/// One direction's compression.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Policy: a built-in name (`cellm plugin list`) or the path of a component.
    pub policy: String,
    /// Share of the values that is sent, in (0, 1].
    pub density: f64,
    /// Bits of a value on the wire: 1, 2, 3, 4, 8, 16 or 32; a policy refuses what it cannot do.
    pub bits: Bits,
    /// Send later what a message left out. Up: each client adds what is left to its next update. Down: the server sends the
    /// difference to what the clients have, and those that missed rounds catch up.
    pub error_feedback: bool,
    /// Share of what an upload left out that is carried over to the next, in [0, 1]; 1 forgets nothing. A download
    /// knows only 1.
    pub error_decay: f32,
    /// Bytes that a message should not exceed; a policy may choose its density by it. 0 sets none.
    pub byte_budget: u64,
    /// The policy's own options (`cellm plugin inspect NAME` lists them).
    pub options: serde_json::Map<String, serde_json::Value>,
}

impl Config {
    /// The settings of downloads where nothing is set. The two densities were chosen for the bytes of both directions
    /// together: what goes down is where the clients start, and thinning it costs more loss a byte than thinning what
    /// comes up.
    pub fn of_downloads() -> Self {
        Self::with(0.5)
    }

    /// The settings of uploads where nothing is set.
    pub fn of_uploads() -> Self {
        Self::with(0.18)
    }

    fn with(density: f64) -> Self {
        Self {
            policy: "flasc".into(),
            density,
            bits: Bits::Sixteen,
            error_feedback: false,
            error_decay: 1.0,
            byte_budget: 0,
            options: serde_json::Map::new(),
        }
    }
}
