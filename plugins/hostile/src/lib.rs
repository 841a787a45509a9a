//! A policy for tests only: it misbehaves in the way that its option `act` names, whenever it encodes (or, for `long` and
//! `refuse`, decodes).

use std::hint::black_box;
use std::mem::forget;

use cellm_plugin::{
    Capabilities, Compressor, Context, Description, IndexSet, Layout, Message, Options, Policy, PolicyError, Settings,
    ValueCoding, Vector, option, random_bits, save,
};

/// Everything it can do; `none` behaves.
const ACTS: [&str; 18] = [
    "none",
    "loop",
    "host-loop",
    "memory",
    "vectors",
    "handles",
    "leak",
    "trap",
    "recursion",
    "output",
    "parts",
    "list",
    "range",
    "indices",
    "long",
    "refuse",
    "chunks",
    "state",
];

fn descend(depth: u64) -> u64 {
    let here = black_box([depth; 64]);
    if black_box(true) { descend(depth + 1) + here[3] } else { 0 }
}

fn misbehave(act: &str, values: &Vector, into: &Message) -> Result<(), PolicyError> {
    match act {
        "loop" => loop {
            black_box(());
        },
        "host-loop" => loop {
            black_box(values.norm());
        },
        "memory" => loop {
            forget(black_box(vec![1_u8; 1 << 20]));
        },
        "vectors" => loop {
            forget(Vector::new(1 << 18));
        },
        "handles" => loop {
            forget(Vector::new(0));
        },
        "leak" => forget(Vector::new(1 << 16)),
        "trap" => panic!("as asked"),
        "recursion" => drop(black_box(descend(0))),
        "output" => loop {
            into.put_bytes(&[7; 1 << 16]);
        },
        "parts" => loop {
            into.put_bytes(&[]);
        },
        "list" => drop(black_box(random_bits(1, 2, 3, u32::MAX))),
        "range" => drop(black_box(values.read(values.len() - 1, 2))),
        "indices" => {
            let error = IndexSet::from_list(4, &[1, 4]).err().unwrap_or_default();
            return Err(PolicyError::Other(error));
        }
        "state" => {
            for number in 0_u64.. {
                save(&number.to_string(), values);
            }
        }
        "chunks" => {
            // An own kernel: what a policy does that finds no host kernel for its purpose.
            let own = values.copy();
            for offset in (0..values.len()).step_by(1 << 16) {
                let count = (values.len() - offset).min(1 << 16);
                let doubled: Vec<f32> = values.read(offset, count).iter().map(|value| value * 2.0).collect();
                own.write(offset, &doubled);
            }
            into.put_values(ValueCoding::F32, &own);
        }
        _ => {}
    }
    into.put_values(ValueCoding::F32, values);
    Ok(())
}

struct Hostile {
    act: String,
}

impl Policy for Hostile {
    fn describe() -> Description {
        Description {
            name: "hostile".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            about: "Misbehaves on request.".into(),
            capabilities: Capabilities::empty(),
            options: vec![option::choice("act", &ACTS, "What to do.")],
        }
    }
}

impl Compressor for Hostile {
    fn new(_: Layout, _: Settings, options: &Options) -> Result<Self, PolicyError> {
        Ok(Self { act: options.text("act")?.into() })
    }

    fn encode(&mut self, _: &Context, values: &Vector, _: &Vector, into: &Message) -> Result<(), PolicyError> {
        misbehave(&self.act, values, into)
    }

    fn decode(&mut self, _: &Context, message: &Message, start: &Vector) -> Result<Vector, PolicyError> {
        match self.act.as_str() {
            "long" => Ok(Vector::new(start.len() + 1)),
            "refuse" => Err(PolicyError::Other("not today".into())),
            _ => message.take_values(ValueCoding::F32, start.len()),
        }
    }
}

type Component = cellm_plugin::Exported<Hostile>;
cellm_plugin::export_compressor!(Component);
