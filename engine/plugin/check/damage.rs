//! Messages come from clients, so they may hold anything: a decoder answers with an error or with values, never with a trap.

use std::sync::Arc;

use serde_json::Map;

use super::compressor::{extremes, is_typed};
use super::exchange::{Ends, Setting, named};
use crate::adapter::{Message, Part, ValueCoding};
use crate::plugin::samples::{adapters, context, delta};
use crate::policy::{Content, Policy};

pub(super) fn findings(policy: &Arc<Policy>, settings: &[Setting]) -> Result<String, String> {
    let mut count = 0;
    for adapter in &adapters()[1..] {
        for setting in extremes(settings) {
            let content = setting.contents()[0];
            let context = context(content, 0.25);
            let mut ends = Ends::new(policy, adapter, setting, &Map::new())?;
            let values = if content == Content::Weights { adapter.weights(5) } else { delta(adapter.values(), 5) };
            let good = ends.exchange(&context, &values)?;
            // Every try starts from what the receiver knew before it.
            ends.receiver = Arc::default();
            for (what, damaged) in damaged(&good.message) {
                let decoded = ends.decode(&context, damaged);
                if let Some(error) = decoded.err().filter(|error| !is_typed(error)) {
                    return Err(format!("{}, {what}: {error}", named(adapter, setting, &context)));
                }
                count += 1;
            }
            let again =
                ends.decode(&context, good.message).map_err(|error| format!("after damaged messages: {error}"))?;
            if again.0 != good.decoded {
                return Err("after damaged messages a good one is decoded otherwise".into());
            }
        }
    }
    Ok(format!("{count} messages, and good ones are decoded as before"))
}

/// A message with one thing wrong, in many ways.
fn damaged(good: &Message) -> Vec<(String, Message)> {
    let mut all = vec![("no parts".to_owned(), Message::default())];
    let mut put = |what: String, parts: Vec<Part>| all.push((what, Message { parts }));
    let parts = &good.parts;
    put("parts in the other order".into(), parts.iter().rev().cloned().collect());
    for (number, part) in parts.iter().enumerate() {
        let with = |replaced: Vec<Part>| [&parts[..number], &replaced, &parts[number + 1..]].concat();
        put(format!("without part {number}"), with(vec![]));
        put(format!("part {number} twice"), with(vec![part.clone(), part.clone()]));
        for (what, other) in others(part) {
            put(format!("part {number} {what}"), with(vec![other]));
        }
    }
    put("bytes at the end".into(), [parts.as_slice(), &[Part::Bytes(vec![1, 2, 3])]].concat());
    all
}

/// Parts that a sender could put in the place of this one.
fn others(part: &Part) -> Vec<(&'static str, Part)> {
    let mut all = vec![
        ("as no bytes", Part::Bytes(Vec::new())),
        ("as bytes", Part::Bytes((0..64).map(|n: u8| n.wrapping_mul(37)).collect())),
        ("as no values", Part::Values { coding: ValueCoding::F32, values: Vec::new() }),
    ];
    match part {
        Part::Indices { space, indices } => {
            let of = |space: u32, indices: Vec<u32>| Part::Indices { space, indices };
            let fewer = indices.split_last().map(|(_, rest)| rest.to_vec()).unwrap_or_default();
            all.push(("one index fewer", of(*space, fewer)));
            all.push(("of none", of(*space, Vec::new())));
            all.push(("of all", of(*space, (0..*space).collect())));
            all.push(("of another space", of(space.saturating_add(1), indices.clone())));
            all.push(("of the largest space", of(u32::MAX, indices.clone())));
        }
        Part::Values { coding, values } => {
            let of = |coding: ValueCoding, values: Vec<f32>| Part::Values { coding, values };
            let other = if *coding == ValueCoding::F32 { ValueCoding::F16 } else { ValueCoding::F32 };
            all.push(("one value fewer", of(*coding, values[..values.len().saturating_sub(1)].to_vec())));
            all.push(("one value more", of(*coding, [values.as_slice(), &[1.0]].concat())));
            all.push(("in another coding", of(other, values.clone())));
            all.push(("of huge values", of(*coding, vec![6e4; values.len()])));
        }
        Part::Codes { bits, codes } => {
            let of = |bits: u8, codes: Vec<u8>| Part::Codes { bits, codes };
            let largest = (0xff_u32 >> (8 - u32::from(*bits).clamp(1, 8))) as u8;
            all.push(("one code fewer", of(*bits, codes[..codes.len().saturating_sub(1)].to_vec())));
            all.push(("of more bits", of((*bits + 1).min(8), codes.clone())));
            all.push(("of the largest codes", of(*bits, vec![largest; codes.len()])));
        }
        Part::Bytes(bytes) => {
            all.push(("one byte fewer", Part::Bytes(bytes[..bytes.len().saturating_sub(1)].to_vec())));
            all.push(("one byte more", Part::Bytes([bytes.as_slice(), &[0]].concat())));
            all.push(("of ones", Part::Bytes(vec![0xff; bytes.len()])));
            all.push(("of zeros", Part::Bytes(vec![0; bytes.len()])));
            for at in [0, bytes.len() / 2, bytes.len().saturating_sub(1)] {
                let mut flipped = bytes.clone();
                if let Some(byte) = flipped.get_mut(at) {
                    *byte ^= 0x81;
                }
                all.push(("with two bits flipped", Part::Bytes(flipped)));
            }
        }
    }
    all
}
