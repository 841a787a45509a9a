//! Built-in compressors and messages that no honest sender would send: every one is decoded or refused with a typed error,
//! the instance stays usable, and a refusal leaves nothing in the memory.

use std::sync::Arc;

use rand_core::Rng;

use super::tests::{context, host};
use super::*;
use crate::adapter::{AdapterLayout, Message, Part, Role, TensorSpec, ValueCoding};
use crate::random::{self, Purpose};

const RANK: usize = 4;
const SIDE: usize = 64;
const SPOILED: usize = 150;

fn layout() -> Arc<AdapterLayout> {
    let tensor = |name: &str, role, shape: [usize; 2]| TensorSpec {
        name: name.into(),
        role,
        shape: shape.into(),
        rank: RANK,
        scale: 1.0,
        seed: 3,
    };
    let pair = |layer: usize| {
        let key = format!("base_model.model.model.layers.{layer}.self_attn.q_proj");
        let a = tensor(&format!("{key}.lora_A.weight"), Role::LoraA, [RANK, SIDE]);
        [a, tensor(&format!("{key}.lora_B.weight"), Role::LoraB, [SIDE, RANK])]
    };
    Arc::new(AdapterLayout::new((0..2).flat_map(pair).collect()))
}

/// An instance with the widest values that the policy takes; none where it does not serve the direction.
fn compressor(policy: &Arc<Policy>, direction: Direction) -> Option<CompressorInstance> {
    let direction = direction.name();
    let options = |bits: u32| format!(r#"{{"direction":"{direction}","bits":{bits}}}"#);
    let with = |bits: u32| policy.compressor(&layout(), &options(bits));
    [32, 16, 8, 4, 2, 1].into_iter().find_map(|bits| with(bits).ok())
}

/// The same message with one thing wrong, or quite another one.
fn spoiled(good: &Message, draw: &mut impl FnMut(usize) -> usize) -> Message {
    let mut parts = good.parts.clone();
    let at = draw(parts.len().max(1)).min(parts.len().saturating_sub(1));
    match draw(6) {
        0 if !parts.is_empty() => drop(parts.remove(at)),
        1 if !parts.is_empty() => parts.insert(at, parts[at].clone()),
        2 => parts.insert(at, any_part(draw)),
        3 => parts.reverse(),
        4 => parts = (0..draw(5)).map(|_| any_part(draw)).collect(),
        _ => {
            if let Some(part) = parts.get_mut(at) {
                wrong(part, draw);
            }
        }
    }
    Message { parts }
}

fn any_part(draw: &mut impl FnMut(usize) -> usize) -> Part {
    let len = [0, 1, 7, SIDE, SIDE * RANK * 4][draw(5)];
    match draw(4) {
        0 => Part::Indices { space: [0, 1, 64, 1024, u32::MAX][draw(5)], indices: (0..len as u32).collect() },
        1 => Part::Values { coding: [ValueCoding::F32, ValueCoding::F16][draw(2)], values: vec![f32::NAN; len].into() },
        2 => Part::Codes { bits: draw(10) as u8, codes: vec![draw(256) as u8; len] },
        _ => Part::Bytes(vec![draw(256) as u8; len]),
    }
}

fn wrong(part: &mut Part, draw: &mut impl FnMut(usize) -> usize) {
    match part {
        Part::Indices { space, indices } => match draw(4) {
            0 => *space = space.wrapping_add(1),
            1 => indices.reverse(),
            2 => indices.push(u32::MAX),
            _ => drop(indices.pop()),
        },
        Part::Values { coding, values } => match draw(3) {
            0 => *coding = if *coding == ValueCoding::F32 { ValueCoding::F16 } else { ValueCoding::F32 },
            1 => Arc::<Vec<f32>>::make_mut(values).push(f32::INFINITY),
            _ => drop(Arc::<Vec<f32>>::make_mut(values).pop()),
        },
        Part::Codes { bits, codes } => match draw(3) {
            0 => *bits = bits.wrapping_add(1),
            1 => codes.push(255),
            _ => drop(codes.pop()),
        },
        Part::Bytes(bytes) => match draw(3) {
            0 => bytes.fill(0xff),
            1 => bytes.push(0),
            _ => drop(bytes.pop()),
        },
    }
}

#[test]
fn every_built_in_compressor_survives_spoiled_messages() {
    let host = host(&LimitsConfig::default());
    let start = layout().start().0;
    let mut stream = random::stream(5, Purpose::NoopDelta, 1, 1);
    // A stays where it started: a policy may train and send B alone.
    let mut moved =
        |start: &f32| if *start == 0.0 { (stream.next_u32() as f32 / u32::MAX as f32) - 0.5 } else { *start };
    let values: Vec<f32> = start.iter().map(&mut moved).collect();
    let mut draw = |below: usize| (stream.next_u32() as usize) % below;
    for name in PolicyHost::builtin_names() {
        let policy = host.load(name).unwrap();
        if !policy.is_compressor() {
            continue;
        }
        let (mut server, mut client) = (Memory::default(), Memory::default());
        for direction in [Direction::Download, Direction::Upload] {
            let (sender, receiver) = match direction {
                Direction::Download => (&mut server, &mut client),
                Direction::Upload => (&mut client, &mut server),
            };
            let context = Context { density: 0.25, client: Some(1), ..context(direction, 1) };
            let Some(mut instance) = compressor(&policy, direction) else {
                assert_eq!((name, direction), ("unicast", Direction::Upload));
                continue;
            };
            if direction == Direction::Upload {
                instance.plan(&context, start.clone(), start.clone(), sender).unwrap();
            }
            let good = instance.encode(&context, Arc::new(values.clone()), start.clone(), sender).unwrap();
            let before = receiver.written();
            let mut refused = 0;
            for _ in 0..SPOILED {
                let message = spoiled(&good, &mut draw);
                let mut memory = receiver.clone();
                let Err(error) = instance.decode(&context, message.clone(), start.clone(), &mut memory) else {
                    continue;
                };
                let typed = matches!(error, PolicyError::Rejected { .. } | PolicyError::LeftOver { .. });
                assert!(typed && !instance.poisoned(), "{name}: {error} from {message:?}");
                assert_eq!(memory.written(), before, "{name}");
                refused += 1;
            }
            // Of a message without parts most damage leaves nothing behind.
            let least = if good.parts.is_empty() { 0 } else { SPOILED / 2 };
            assert!(refused > least, "{name}: {refused} of {SPOILED} refused");
            instance.decode(&context, good, start.clone(), receiver).unwrap();
        }
    }
}
