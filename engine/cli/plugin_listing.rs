//! `cellm plugin list` and `inspect`: which policies there are, and what one says of itself.

use std::fmt::Write;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::policy::{LimitsConfig, OptionHelp, Policy, PolicyConfig, PolicyHost};

use super::{Failure, output};

/// The built-in policies, one a line.
pub fn list(json: bool) -> Result<u8, Failure> {
    let host = PolicyHost::new(&LimitsConfig::default(), &PolicyConfig::default())?;
    let policies: Vec<_> = PolicyHost::builtin_names().map(|name| host.load(name)).collect::<Result<_, _>>()?;
    let object = || json!({ "policies": policies.iter().map(|policy| object(policy)).collect::<Vec<_>>() });
    let width = policies.iter().map(|policy| policy.name.len()).max().unwrap_or(0);
    let line = |policy: &Arc<Policy>| {
        let Policy { name, version, about, .. } = policy.as_ref();
        format!("{name:<width$} {version:<8} {:<26} {about}\n", policy.worlds())
    };
    output::show(json, object, || policies.iter().map(line).collect())?;
    Ok(0)
}

/// One policy with its options.
pub fn inspect(reference: &str, json: bool) -> Result<u8, Failure> {
    let policy = PolicyHost::new(&LimitsConfig::default(), &PolicyConfig::default())?.load(reference)?;
    output::show(json, || object(&policy), || described(&policy))?;
    Ok(0)
}

/// A policy for programs.
pub(super) fn object(policy: &Policy) -> Value {
    let option = |option: &OptionHelp| {
        let OptionHelp { name, allowed, default, about } = option;
        json!({ "name": name, "default": default, "allowed": allowed, "about": about })
    };
    json!({
        "name": policy.name,
        "version": policy.version,
        "about": policy.about,
        "serves_as": policy.worlds(),
        "blake3": policy.hash.to_string(),
        "options": policy.options.iter().map(option).collect::<Vec<_>>(),
    })
}

/// A policy for people.
fn described(policy: &Policy) -> String {
    let mut text = String::new();
    for (name, value) in [
        ("name", policy.name.as_str()),
        ("version", &policy.version),
        ("about", &policy.about),
        ("serves as", policy.worlds()),
        ("blake3", &policy.hash.to_string()),
    ] {
        let _ = writeln!(text, "{name:<10} {value}");
    }
    if policy.options.is_empty() {
        text.push_str("options    none\n");
    } else {
        text.push_str("options\n");
    }
    for option in &policy.options {
        let _ = writeln!(text, "  {} = {}    {}", option.name, option.default, option.allowed);
        let _ = writeln!(text, "      {}", option.about);
    }
    text
}
