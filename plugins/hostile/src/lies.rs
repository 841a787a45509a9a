//! The component's description of itself: the truth, and one lie at a time.

use crate::act::OPTION_ACTS;
use crate::bindings::cellm::policy::types::{Capabilities, Description, OptionInfo, OptionKind, OptionValue};

/// The truth.
pub fn honest() -> Description {
    Description {
        name: "hostile".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        about: "Misbehaves on request.".into(),
        capabilities: Capabilities::empty(),
        options: vec![OptionInfo {
            name: "act".into(),
            kind: OptionKind::Choice(OPTION_ACTS.map(String::from).into()),
            default: OptionValue::Text("none".into()),
            about: "What to do.".into(),
        }],
    }
}

/// The truth but for one thing.
pub fn told(lie: &str, mut it: Description) -> Description {
    let option = it.options[0].clone();
    match lie {
        "no-name" => it.name.clear(),
        "long-name" => it.name = "n".repeat(65),
        "odd-name" => it.name = "../\u{1b}[31mred".into(),
        "no-version" => it.version.clear(),
        "odd-version" => it.version = "newest".into(),
        "long-about" => it.about = "a".repeat(1 << 20),
        "giant-about" => it.about = "a".repeat(16 << 20),
        "odd-about" => it.about = "\u{7}\u{8}\u{7f}".into(),
        "option-twice" => it.options.push(option),
        "option-nameless" => it.options[0].name.clear(),
        "option-setting" => it.options[0].name = "bits".into(),
        "options-many" => it.options = vec![option; 65],
        "options-flood" => it.options = vec![option; 1 << 16],
        "default-kind" => it.options[0].default = OptionValue::Integer(1),
        "default-word" => it.options[0].default = OptionValue::Text("x".repeat(1 << 16)),
        "default-share" => {
            it.options[0].kind = OptionKind::Share;
            it.options[0].default = OptionValue::Number(f64::NAN);
        }
        "no-choice" => it.options[0].kind = OptionKind::Choice(Vec::new()),
        "choice-flood" => it.options[0].kind = OptionKind::Choice(vec![String::new(); 1 << 18]),
        _ => unreachable!("no such lie"),
    }
    it
}
