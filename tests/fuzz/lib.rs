//! Helpers of fuzz targets: bytes in, a message or a file out.

use std::path::{Path, PathBuf};

use cellm::adapter::{Message, Part, ValueCoding};

/// A folder that lives as long as the process.
///
/// # Panics
/// A temporary folder that cannot be made: nothing can be tried then.
pub fn folder() -> PathBuf {
    tempfile::tempdir().expect("a temporary folder").keep()
}

/// Writes a file of a folder anew.
///
/// # Panics
/// A file that cannot be written: nothing can be tried then.
pub fn put(folder: &Path, name: &str, bytes: &[u8]) {
    std::fs::write(folder.join(name), bytes).expect("a file in a temporary folder");
}

/// A message that every encoder must take: indices increase within their space, codes fit their bits. `space` is that of
/// indices where the bytes do not say otherwise.
pub fn message(mut bytes: &[u8], space: u32) -> Message {
    let mut parts = Vec::new();
    while let Some((kind, rest)) = bytes.split_first() {
        let (size, rest) = rest.split_first().unwrap_or((&0, rest));
        let (payload, rest) = rest.split_at(rest.len().min(usize::from(*size) * 4));
        bytes = rest;
        parts.push(match kind % 16 {
            0..4 => indices(payload, space),
            4 => indices(payload, space.saturating_add(u32::from(*size) << (kind >> 3))),
            5..9 => values(payload, ValueCoding::F32),
            9 => values(payload, ValueCoding::F16),
            10 => values(payload, ValueCoding::Bf16),
            11..15 => {
                let bits = 1 + (kind >> 5);
                Part::Codes { bits, codes: payload.iter().map(|byte| byte >> (8 - bits)).collect() }
            }
            _ => Part::Bytes(payload.to_vec()),
        });
    }
    Message { parts }
}

/// Each byte is the distance from the index before; 255 makes the next one 255 times as far.
fn indices(bytes: &[u8], space: u32) -> Part {
    let mut indices = Vec::new();
    let (mut next, mut stride) = (0_u32, 1_u32);
    for byte in bytes {
        if *byte == 255 {
            stride = 255;
            continue;
        }
        let Some(index) = next.checked_add(u32::from(*byte) * stride).filter(|index| *index < space) else { break };
        indices.push(index);
        (next, stride) = (index + 1, 1);
    }
    Part::Indices { space, indices }
}

fn values(bytes: &[u8], coding: ValueCoding) -> Part {
    let values: Vec<f32> = bytes.as_chunks().0.iter().map(|four| f32::from_le_bytes(*four)).collect();
    Part::Values { coding, values: values.into() }
}
