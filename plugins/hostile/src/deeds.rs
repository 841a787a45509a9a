//! Misdeeds that any hook can do: those that never end, those that take too much, those that remember too much.

use std::hint::black_box;
use std::mem::forget;

use crate::bindings::cellm::policy::host::{Codes, IndexSet, Vector, load, load_bytes, random_bits, save, save_bytes};
use crate::bindings::cellm::policy::types::{BadOption, PolicyError};
use crate::kernels;

fn descend(depth: u64) -> u64 {
    let here = black_box([depth; 64]);
    if black_box(true) { descend(depth + 1) + here[3] } else { 0 }
}

/// Does it. What is not done here is a misuse of a kernel.
pub fn commit(deed: &str) -> Result<(), PolicyError> {
    match deed {
        "none" => Ok(()),
        "trap" => panic!("as asked"),
        "recursion" => {
            black_box(descend(0));
            Ok(())
        }
        "refuse" => Err(PolicyError::Other("not today".into())),
        "bad-option" => {
            let text = || "o".repeat(1 << 16);
            Err(PolicyError::BadOption(BadOption { name: text(), found: text(), allowed: text() }))
        }
        "long-error" => Err(PolicyError::Other("e".repeat(1 << 20))),
        "giant-error" => Err(PolicyError::Other("e".repeat(8 << 20))),
        "floats" => Err(PolicyError::Other(floats())),
        "loop" | "host-loop" | "vector-storm" | "normal-storm" | "top-k-storm" | "forget-storm" => endless(deed),
        "memory" | "vectors" | "handles" | "sets" | "codes" | "list" => take(deed),
        "vector-max" | "uniform-max" | "normal-max" | "complement-max" | "runs-max" => huge(deed),
        _ if deed.starts_with("state-") => remember(deed),
        _ => kernels::misuse(deed),
    }
}

fn endless(deed: &str) -> ! {
    let vector = Vector::random_uniform(1 << 16, 1, 1);
    let mut key = 0_u64;
    loop {
        match deed {
            "loop" => black_box(()),
            "vector-storm" => drop(Vector::new(1 << 16)),
            "normal-storm" => drop(Vector::random_normal(1 << 10, 1, 1)),
            "top-k-storm" => drop(vector.top_k(0, 1 << 16, 1 << 15)),
            "forget-storm" => {
                key += 1;
                crate::bindings::cellm::policy::host::forget(&key.to_string());
            }
            _ => drop(black_box(random_bits(1, 2, 3, 4))),
        }
    }
}

fn take(deed: &str) -> ! {
    loop {
        match deed {
            "memory" => forget(black_box(vec![1_u8; 1 << 20])),
            "vectors" => forget(Vector::new(1 << 18)),
            "handles" => forget(Vector::new(0)),
            "sets" => forget(IndexSet::runs(1 << 18, 0, 1 << 18, 1 << 18, 1)),
            "codes" => forget(Vector::new(1 << 18).quantize(&[0.0, 1.0])),
            _ => drop(black_box(random_bits(1, 2, 3, u32::MAX))),
        }
    }
}

fn huge(deed: &str) -> Result<(), PolicyError> {
    match deed {
        "vector-max" => drop(black_box(Vector::new(u32::MAX))),
        "uniform-max" => drop(black_box(Vector::random_uniform(u32::MAX, 1, 2))),
        "normal-max" => drop(black_box(Vector::random_normal(u32::MAX, 1, 2))),
        "runs-max" => drop(black_box(IndexSet::runs(u32::MAX, 0, 1, 1, u32::MAX))),
        _ => {
            let none = IndexSet::from_list(u32::MAX, &[]).map_err(PolicyError::Other)?;
            drop(black_box(none.complement()));
        }
    }
    Ok(())
}

#[expect(clippy::infinite_iter, reason = "limits end them")]
fn remember(deed: &str) -> Result<(), PolicyError> {
    let values = Vector::new(1 << 16);
    match deed {
        "state-many" => (0_u64..).for_each(|key| save_bytes(&key.to_string(), &[])),
        "state-vectors" => (0_u64..).for_each(|key| save(&key.to_string(), &values)),
        "state-huge" => save("huge", &Vector::new(1 << 20)),
        "state-bytes" => save_bytes("bytes", &vec![7; 3 << 20]),
        "state-long-key" => save_bytes(&"k".repeat(257), b"x"),
        "state-giant-key" => drop(load(&"k".repeat(8 << 20))),
        "state-fails" => {
            save("kept?", &values);
            save_bytes("kept?", b"no");
            return Err(PolicyError::Other("after writing".into()));
        }
        "state-traps" => {
            save("kept?", &values);
            panic!("after writing");
        }
        "state-keeps" => {
            save("kept", &values);
            save_bytes("kept", b"yes");
            // What is loaded is a copy: writing to it does not change the memory.
            let loaded = load("kept").ok_or(PolicyError::Other("nothing under the key".into()))?;
            loaded.write(0, &[1.0]);
            values.write(1, &[1.0]);
            let again = load("kept").ok_or(PolicyError::Other("nothing under the key".into()))?;
            if again.max_abs() != 0.0 || load_bytes("kept").as_deref() != Some(b"yes") || load_bytes("none").is_some() {
                return Err(PolicyError::Other("the memory changed under way".into()));
            }
        }
        _ => unreachable!("no such act"),
    }
    Ok(())
}

/// Results of float operations that differ between machines unless they are made the same.
fn floats() -> String {
    let zero = black_box(0.0_f32);
    #[expect(clippy::eq_op, reason = "the NaN that the machine makes")]
    let nan = zero / zero;
    let other = black_box(f32::from_bits(0x7fc1_2345));
    let host = Vector::new(4);
    host.write(0, &[zero, 1.0, f32::MAX, f32::MIN_POSITIVE]);
    host.scale(f32::INFINITY);
    host.axpy(-1.0, &host.copy());
    let codes = Codes::from_list(3, &[7]);
    let bits = |value: f32| format!("{:08x}", value.to_bits());
    let read: Vec<String> = host.read(0, 4).into_iter().map(bits).collect();
    format!(
        "{} {} {} {:016x} {} {}",
        bits(nan),
        bits(-nan + other),
        bits(black_box(other).sqrt()),
        (f64::from(black_box(1e-40_f32)) / 3.0).to_bits(),
        read.join(" "),
        codes.bits(),
    )
}
