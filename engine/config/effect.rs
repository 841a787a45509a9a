//! Keys that change no result: declared once, for everything that asks whether two configs mean the same run.

/// Keys, and sections with a dot at their end.
const WITHOUT_EFFECT: [&str; 8] = [
    "run.name",
    "run.out",
    "run.threads",
    "model.slots",
    "client.gradient_checkpointing",
    "data.cache_mb",
    "metrics.",
    "policy.",
];

/// Whether a dotted key, or every key of its section, changes nothing of what a run ends with.
pub fn changes_nothing(key: &str) -> bool {
    WITHOUT_EFFECT.iter().any(|known| match known.strip_suffix('.') {
        Some(section) => key.split('.').next() == Some(section),
        None => *known == key,
    })
}

#[cfg(test)]
mod tests {
    use super::super::key_docs;
    use super::*;

    #[test]
    fn what_is_listed_is_a_key_or_a_section_and_nothing_else_is_without_effect() {
        let keys: Vec<String> = key_docs().iter().map(|key| format!("{}.{}", key.section, key.key)).collect();
        for known in WITHOUT_EFFECT {
            assert!(keys.iter().any(|key| key == known || key.starts_with(known) && known.ends_with('.')), "{known}");
        }
        assert!(changes_nothing("policy.watch") && changes_nothing("run.threads"));
        assert!(!changes_nothing("run.rounds") && !changes_nothing("server.quorum") && !changes_nothing("policyx.a"));
    }
}
