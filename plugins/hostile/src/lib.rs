//! A policy for tests only: it misbehaves in the way that its option `act` names, whenever it encodes (or, for `long` and
//! `refuse`, decodes).

mod bindings {
    wit_bindgen::generate!({ world: "compressor", path: "../../wit" });
}

use std::cell::RefCell;
use std::hint::black_box;
use std::mem::forget;

use bindings::cellm::policy::host::{IndexSet, Message, Vector, random_bits};
use bindings::cellm::policy::types::{
    Context, Description, Layout, NamedOption, OptionInfo, OptionKind, OptionValue, PolicyError, ValueCoding,
};
use bindings::exports::cellm::policy::compressing::{Guest as Compressing, Settings};
use bindings::exports::cellm::policy::describing::Guest as Describing;

/// Everything it can do; `none` behaves.
const ACTS: [&str; 17] = [
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
];

thread_local! {
    static ACT: RefCell<String> = const { RefCell::new(String::new()) };
}

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

struct Hostile;

impl Describing for Hostile {
    fn describe() -> Description {
        Description {
            name: "hostile".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            about: "Misbehaves on request.".into(),
            options: vec![OptionInfo {
                name: "act".into(),
                kind: OptionKind::Choice(ACTS.map(String::from).into()),
                default: OptionValue::Text("none".into()),
                about: "What to do.".into(),
            }],
        }
    }
}

impl Compressing for Hostile {
    fn init(_: Layout, _: Settings, options: Vec<NamedOption>) -> Result<(), PolicyError> {
        for (_, value) in options {
            if let OptionValue::Text(act) = value {
                ACT.set(act);
            }
        }
        Ok(())
    }

    fn encode(_: Context, values: &Vector, _: &Vector, into: &Message) -> Result<(), PolicyError> {
        ACT.with_borrow(|act| misbehave(act, values, into))
    }

    fn decode(_: Context, message: &Message, start: &Vector) -> Result<Vector, PolicyError> {
        ACT.with_borrow(|act| match act.as_str() {
            "long" => Ok(Vector::new(start.len() + 1)),
            "refuse" => Err(PolicyError::Other("not today".into())),
            _ => message.take_values(ValueCoding::F32, start.len()),
        })
    }
}

bindings::export!(Hostile with_types_in bindings);
