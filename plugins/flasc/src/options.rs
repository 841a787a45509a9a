//! The options of flasc: what it declares, and what it makes of the values that the host checked and handed over.

use crate::Flasc;
use crate::bindings::cellm::policy::types::{
    BadOption, NamedOption, OptionInfo, OptionKind, OptionValue, PolicyError, ValueCoding,
};
use crate::bindings::exports::cellm::policy::compressing::Settings;

fn words(words: &[&str]) -> OptionKind {
    OptionKind::Choice(words.iter().map(|word| String::from(*word)).collect())
}

fn option(name: &str, kind: OptionKind, default: OptionValue, about: &str) -> OptionInfo {
    OptionInfo { name: name.into(), kind, default, about: about.into() }
}

/// The options, as the user sees them.
pub fn declared() -> Vec<OptionInfo> {
    let text = |word: &str| OptionValue::Text(word.into());
    vec![
        option(
            "decay",
            OptionKind::Share,
            OptionValue::Number(1.0),
            "Factor on the density every `decay_every` rounds.",
        ),
        option(
            "decay_every",
            OptionKind::Count,
            OptionValue::Integer(0),
            "Rounds from one decay to the next; 0 never decays.",
        ),
        option(
            "reference",
            words(&["seeded", "zero"]),
            text("seeded"),
            "Download: `seeded` ranks |W - W0|, unsent values are W0; `zero` ranks |W|, unsent values are 0 (the papers).",
        ),
        option(
            "values",
            words(&["bits", "f32", "f16", "bf16"]),
            text("bits"),
            "Coding of the values; `bits` takes f32 for 32 bits and f16 for 16.",
        ),
    ]
}

/// The state that settings and options ask for.
pub fn read(values: u32, settings: &Settings, options: Vec<NamedOption>) -> Result<Flasc, PolicyError> {
    let coding = match settings.bits {
        16 => ValueCoding::F16,
        32 => ValueCoding::F32,
        bits => {
            let (name, allowed) = ("bits".into(), "16 or 32".into());
            return Err(PolicyError::BadOption(BadOption { name, found: bits.to_string(), allowed }));
        }
    };
    let mut flasc = Flasc { values, density: settings.density, decay: 1.0, decay_every: 0, seeded: false, coding };
    for (name, value) in options {
        match (name.as_str(), value) {
            ("decay", OptionValue::Number(decay)) => flasc.decay = decay,
            ("decay_every", OptionValue::Integer(rounds)) => flasc.decay_every = rounds.unsigned_abs(),
            ("reference", OptionValue::Text(word)) => flasc.seeded = word == "seeded",
            ("values", OptionValue::Text(word)) if word == "f32" => flasc.coding = ValueCoding::F32,
            ("values", OptionValue::Text(word)) if word == "f16" => flasc.coding = ValueCoding::F16,
            ("values", OptionValue::Text(word)) if word == "bf16" => flasc.coding = ValueCoding::Bf16,
            _ => {}
        }
    }
    Ok(flasc)
}
