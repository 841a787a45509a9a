//! `cellm plugin new`, `build` and `check`: from an idea to a policy that keeps the rules.

use std::fmt::Write;
use std::path::Path;

use serde_json::json;

use crate::plugin::{self, Kind, Language, Verdict};
use crate::policy::{LimitsConfig, PolicyConfig, PolicyHost};
use crate::report::bytes;

use super::args::{Lang, PolicyKind};
use super::plugin_listing::object as plugin_object;
use super::{Failure, output, visible};

/// Makes a project and says what comes next.
pub fn new(dir: &Path, lang: Lang, kind: PolicyKind, json: bool) -> Result<u8, Failure> {
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
    let object = || json!({ "folder": dir, "name": name, "source": created.source });
    output::show(json, object, || text)?;
    Ok(0)
}

/// Compiles a project and says what came of it.
pub fn build(dir: &Path, json: bool) -> Result<u8, Failure> {
    let host = PolicyHost::new(&LimitsConfig::default(), &PolicyConfig::default())?;
    if plugin::language_of(dir)? == Language::Python {
        output::say("componentize-py puts CPython and the policy into a component: one to two minutes");
    }
    let built = plugin::build(dir, &host)?;
    let policy = &built.policy;
    let object = || json!({ "file": built.file, "bytes": built.bytes, "policy": plugin_object(policy) });
    let mut text = String::new();
    for (name, value) in [
        ("policy", format!("{} {}, {}", policy.name, policy.version, policy.worlds())),
        ("file", built.file.display().to_string()),
        ("size", bytes(built.bytes)),
        ("blake3", policy.hash.to_string()),
    ] {
        let _ = writeln!(text, "{name:<8}{value}");
    }
    output::show(json, object, || text)?;
    Ok(0)
}

/// Checks a policy, one line a rule.
pub fn check(reference: &str, json: bool) -> Result<u8, Failure> {
    let findings = plugin::check(reference)?;
    let failed = findings.iter().any(|finding| finding.verdict == Verdict::Failed);
    let width = findings.iter().map(|finding| finding.rule.len()).max().unwrap_or(0);
    let (mut text, mut rules) = (String::new(), Vec::new());
    for finding in &findings {
        let (mark, word) = match finding.verdict {
            Verdict::Passed => ("ok    ", "passed"),
            Verdict::Failed => ("failed", "failed"),
            Verdict::Noted => ("note  ", "noted"),
        };
        let _ = writeln!(text, "{mark}  {:<width$}  {}", finding.rule, visible::line(&finding.seen));
        rules.push(json!({ "rule": finding.rule, "verdict": word, "seen": finding.seen }));
    }
    output::show(json, || json!({ "policy": reference, "passed": !failed, "rules": rules }), || text)?;
    Ok(if failed { 4 } else { 0 })
}
