//! Messages come from clients, so they may hold anything: a decoder answers with an error or with values, never with a trap.

use std::sync::Arc;

use super::accepted_inputs::{AcceptedInputs, description};
use crate::adapter::{Message, Part, ValueCoding};
use crate::plugin::simulation::{Simulation, StepFailure};
use crate::policy::{Direction, Policy};

pub(super) fn findings(policy: &Arc<Policy>, accepted: &AcceptedInputs) -> Result<String, String> {
    let mut count = 0;
    for adapter in &accepted.adapters {
        for setup in accepted.setups() {
            let mut simulation = Simulation::new(policy, adapter, &setup).map_err(|error| error.to_string())?;
            simulation.round(1).map_err(String::from)?;
            let tried = second_round(&mut simulation);
            count += tried.map_err(|fault| format!("{}, {}", description(adapter, &setup), fault.reason))?;
        }
    }
    Ok(format!("{count} messages, and good ones are decoded as before"))
}

/// Both messages of a round, each in many damaged forms before the good one.
fn second_round(simulation: &mut Simulation<'_>) -> Result<usize, StepFailure> {
    simulation.state.round += 1;
    let mut count = 0;
    let (outgoing, down) = (simulation.outgoing(), simulation.context(Direction::Download));
    let mut received = simulation.state.weights.clone();
    if let Some(message) = simulation.broadcast(&outgoing)? {
        let (_, message) = simulation.through_wire(&down, &message)?;
        let (tried, decoded) =
            damaged_then_good(simulation, &message, |simulation, message| simulation.receive(Some(message)))?;
        (count, received) = (count + tried, decoded);
    }
    let (delta, up) = (simulation.train(&received, 2)?, simulation.context(Direction::Upload));
    if let Some(message) = simulation.upload(&delta)? {
        let (_, message) = simulation.through_wire(&up, &message)?;
        let (tried, _) =
            damaged_then_good(simulation, &message, |simulation, message| simulation.collect(Some(message), &delta))?;
        count += tried;
    }
    Ok(count)
}

/// Decodes the good message, then damaged ones, then the good one again, each from the same state.
fn damaged_then_good<'a>(
    simulation: &mut Simulation<'a>,
    good: &Message,
    mut decode: impl FnMut(&mut Simulation<'a>, Message) -> Result<Arc<Vec<f32>>, StepFailure>,
) -> Result<(usize, Arc<Vec<f32>>), StepFailure> {
    let before = simulation.state.clone();
    let expected = decode(simulation, good.clone())?;
    let after = simulation.state.clone();
    let tries = damaged(good);
    let count = tries.len();
    for (what, message) in tries {
        simulation.state = before.clone();
        let decoded = decode(simulation, message);
        if simulation.poisoned() {
            let reason = decoded.err().map(String::from).unwrap_or_default();
            return Err(StepFailure { reason: format!("{what}: {reason}"), typed: false });
        }
    }
    simulation.state = before;
    if decode(simulation, good.clone())? != expected {
        return Err(StepFailure {
            reason: "after damaged messages a good one is decoded otherwise".into(),
            typed: false,
        });
    }
    simulation.state = after;
    Ok((count, expected))
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
        ("as no values", Part::Values { coding: ValueCoding::F32, values: Arc::default() }),
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
            let of = |coding: ValueCoding, values: Vec<f32>| Part::Values { coding, values: values.into() };
            let other = if *coding == ValueCoding::F32 { ValueCoding::F16 } else { ValueCoding::F32 };
            all.push(("one value fewer", of(*coding, values[..values.len().saturating_sub(1)].to_vec())));
            all.push(("one value more", of(*coding, [values.as_slice(), &[1.0]].concat())));
            all.push(("in another coding", of(other, values.to_vec())));
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
