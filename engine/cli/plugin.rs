//! `cellm plugin list` and `cellm plugin inspect`.

use std::fmt::Write;

use crate::policy::{LimitsConfig, PolicyConfig, PolicyHost};

use super::{Failure, output};

/// The built-in policies, one a line.
pub fn list() -> Result<u8, Failure> {
    let host = PolicyHost::new(&LimitsConfig::default(), &PolicyConfig::default())?;
    let mut text = String::new();
    for name in PolicyHost::builtin_names() {
        let policy = host.load(name)?;
        let _ = writeln!(text, "{:<12} {:<8} {:<26} {}", policy.name, policy.version, policy.worlds(), policy.about);
    }
    output::print(&text)?;
    Ok(0)
}

/// One policy with its options.
pub fn inspect(reference: &str) -> Result<u8, Failure> {
    let policy = PolicyHost::new(&LimitsConfig::default(), &PolicyConfig::default())?.load(reference)?;
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
    output::print(&text)?;
    Ok(0)
}
