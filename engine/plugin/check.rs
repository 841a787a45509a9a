//! Does a policy keep the rules? Tried on made-up adapters with the production host, wire coding included.
//!
//! In: a built-in name or a component. Out: findings, one for each rule; what a policy does not serve is not asked.

mod accepted_inputs;
mod aggregator;
mod capabilities;
mod compressor;
mod damaged_messages;
mod optional_hooks;

use std::sync::Arc;

use crate::policy::{LimitsConfig, Policy, PolicyConfig, PolicyError, PolicyHost};

/// Deadline of one call in a check, milliseconds. The adapters of checks are small.
const DEADLINE_MS: u64 = 20_000;

/// Options from here on need not do anything sensible, as long as `init` answers.
const LARGE: f64 = 1e9;

/// Verdict of a check on one rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was.
    Passed,
    /// It was not.
    Failed,
    /// No rule; something that is good to know.
    Noted,
}

/// One rule and what was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule, in few words.
    pub rule: &'static str,
    /// The verdict.
    pub verdict: Verdict,
    /// The attempt where the rule was kept, else the failure.
    pub seen: String,
}

impl Finding {
    /// From what a check says: what it tried, or what went wrong.
    fn new(rule: &'static str, result: Result<String, String>) -> Self {
        match result {
            Ok(seen) => Self { rule, verdict: Verdict::Passed, seen },
            Err(seen) => Self { rule, verdict: Verdict::Failed, seen },
        }
    }

    fn note(rule: &'static str, seen: String) -> Self {
        Self { rule, verdict: Verdict::Noted, seen }
    }
}

/// Checks a policy. Takes seconds; a policy in Python, a minute.
///
/// # Errors
/// When the host itself cannot start; whatever is wrong with the policy is a finding.
pub fn check(reference: &str) -> Result<Vec<Finding>, PolicyError> {
    let limits = LimitsConfig { deadline_ms: DEADLINE_MS, ..LimitsConfig::default() };
    let host = PolicyHost::new(&limits, &PolicyConfig::default())?;
    let policy = match host.load(reference) {
        Ok(policy) => policy,
        Err(error) => return Ok(vec![Finding::new("loads", Err(error.to_string()))]),
    };
    Ok(findings(&policy))
}

fn findings(policy: &Arc<Policy>) -> Vec<Finding> {
    let about = format!("{} {}, {}, {}", policy.name, policy.version, policy.worlds(), policy.hash);
    let mut all = vec![Finding::new("loads", Ok(about))];
    if policy.is_compressor() {
        all.extend(compressor::findings(policy));
    }
    if policy.is_aggregator() {
        all.extend(aggregator::findings(policy));
    }
    all.extend(policy.log.summary().map(|said| Finding::note("says", said)));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(findings: &[Finding]) -> Vec<String> {
        let failed = findings.iter().filter(|finding| finding.verdict == Verdict::Failed);
        failed.map(|finding| format!("{}: {}", finding.rule, finding.seen)).collect()
    }

    #[test]
    fn built_in_policies_keep_the_rules() {
        for name in PolicyHost::builtin_names() {
            let findings = check(name).unwrap();
            assert!(findings.len() > 5 && failed(&findings).is_empty(), "{name}: {findings:#?}");
        }
    }

    #[test]
    fn what_does_not_load_is_one_finding() {
        let findings = check("no/such.wasm").unwrap();
        assert_eq!(findings.len(), 1);
        assert!(findings[0].verdict == Verdict::Failed && findings[0].seen.contains("no/such.wasm"));
    }

    /// The hostile test policy with another act in its marker.
    fn hostile(act: &str) -> tempfile::NamedTempFile {
        const MARKER: &[u8] = b"cellm-hostile-act:";
        let mut bytes = include_bytes!("../../tests/fixtures/hostile.wasm").to_vec();
        let at = bytes.windows(MARKER.len()).position(|window| window == MARKER).unwrap() + MARKER.len();
        bytes[at..at + 46].fill(b'.');
        bytes[at..at + act.len()].copy_from_slice(act.as_bytes());
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        file
    }

    #[test]
    fn what_a_policy_says_and_the_words_of_its_panic_are_shown() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), include_bytes!("../../tests/fixtures/witness.wasm")).unwrap();
        // The option `mischief` is tried with each of its words: one says something, one panics.
        let findings = check(file.path().to_str().unwrap()).unwrap();
        let says = findings.iter().find(|finding| finding.rule == "says").unwrap();
        assert!(says.verdict == Verdict::Noted && says.seen.contains("lines, the first: \u{fffd}[2Jencode number 1"));
        let broken = failed(&findings);
        let expected = "panicked at plugins/witness/src/mischief.rs:";
        let named = |finding: &String| finding.starts_with("options: ") && finding.contains(expected);
        assert!(broken.iter().any(named), "{findings:#?}");
        assert!(broken.iter().all(|finding| !finding.contains('\u{1b}')), "{broken:?}");
    }

    #[test]
    fn a_broken_rule_is_named() {
        for (act, rule) in [
            ("decode:nan", "sends and receives: "),
            ("decode:short", "sends and receives: "),
            ("finish:nan", "aggregates: "),
            ("finish:long", "aggregates: "),
        ] {
            let findings = check(hostile(act).path().to_str().unwrap()).unwrap();
            assert!(failed(&findings).iter().any(|finding| finding.starts_with(rule)), "{act}: {findings:#?}");
        }
    }
}
