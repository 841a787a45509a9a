//! `cellm plugin new`, `build` and `check`: from an idea to a policy that keeps the rules.

use std::fmt::Write;
use std::path::Path;

use crate::plugin::{self, Kind, Language, Verdict};
use crate::policy::{LimitsConfig, PolicyConfig, PolicyHost};
use crate::report::bytes;

use super::args::{Lang, PolicyKind};
use super::{Failure, output};

/// Makes a project and says what comes next.
pub fn new(dir: &Path, lang: Lang, kind: PolicyKind) -> Result<u8, Failure> {
    let language = match lang {
        Lang::Rust => Language::Rust,
        Lang::Python => Language::Python,
        Lang::C => Language::C,
    };
    let kind = match kind {
        PolicyKind::Compressor => Kind::Compressor,
        PolicyKind::Aggregator => Kind::Aggregator,
    };
    let created = plugin::create(dir, language, kind)?;
    let (folder, name) = (dir.display(), &created.name);
    let mut text = format!("made {folder}: edit {folder}/{}, then\n\n", created.source);
    let _ = writeln!(text, "  cellm plugin build {folder}");
    let _ = writeln!(text, "  cellm plugin check {folder}/{name}.wasm");
    if kind == Kind::Compressor {
        let _ = writeln!(text, "  cellm plugin bench {folder}/{name}.wasm");
    }
    let _ = writeln!(text, "  cellm --set {}.policy={folder}/{name}.wasm", kind.section());
    output::print(&text)?;
    Ok(0)
}

/// Compiles a project and says what came of it.
pub fn build(dir: &Path) -> Result<u8, Failure> {
    let host = PolicyHost::new(&LimitsConfig::default(), &PolicyConfig::default())?;
    if plugin::language_of(dir)? == Language::Python {
        eprintln!("componentize-py puts CPython and the policy into a component: one to two minutes");
    }
    let built = plugin::build(dir, &host)?;
    let policy = &built.policy;
    let mut text = String::new();
    for (name, value) in [
        ("policy", format!("{} {}, {}", policy.name, policy.version, policy.worlds())),
        ("file", built.file.display().to_string()),
        ("size", bytes(built.bytes)),
        ("blake3", policy.hash.to_string()),
    ] {
        let _ = writeln!(text, "{name:<8}{value}");
    }
    output::print(&text)?;
    Ok(0)
}

/// Checks a policy, one line a rule.
pub fn check(reference: &str) -> Result<u8, Failure> {
    let findings = plugin::check(reference)?;
    let width = findings.iter().map(|finding| finding.rule.len()).max().unwrap_or(0);
    let mut text = String::new();
    for finding in &findings {
        let mark = match finding.verdict {
            Verdict::Passed => "ok    ",
            Verdict::Failed => "failed",
            Verdict::Noted => "note  ",
        };
        let _ = writeln!(text, "{mark}  {:<width$}  {}", finding.rule, finding.seen);
    }
    output::print(&text)?;
    Ok(if findings.iter().any(|finding| finding.verdict == Verdict::Failed) { 4 } else { 0 })
}
