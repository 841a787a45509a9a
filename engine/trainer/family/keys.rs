//! The use that the engine makes of each key of the configuration classes of `transformers` 5. A key that is in no
//! table is one that its class does not have; `transformers` ignores it, and so does the engine.

/// The use of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::trainer) enum KeyUse {
    /// The family reads it.
    Read,
    /// It changes nothing that is computed.
    Idle,
    /// Dropout of the base model in training. The frozen model has none; a note for people says so.
    Dropout,
    /// Its value would change what is computed: refused, unless it is one of these, as JSON.
    Only(&'static [&'static str]),
}

/// The keys that every class has.
const EVERY_CLASS: &[(&str, KeyUse)] = &[
    ("architectures", KeyUse::Idle),
    ("chunk_size_feed_forward", KeyUse::Idle),
    ("dtype", KeyUse::Idle),
    ("id2label", KeyUse::Read),
    ("is_causal", KeyUse::Only(&["true"])),
    ("is_encoder_decoder", KeyUse::Idle),
    ("label2id", KeyUse::Read),
    ("num_labels", KeyUse::Idle),
    ("output_hidden_states", KeyUse::Idle),
    ("per_layer_config", KeyUse::Only(&["null", "{}"])),
    ("problem_type", KeyUse::Read),
    ("return_dict", KeyUse::Idle),
    ("torch_dtype", KeyUse::Idle),
    ("transformers_version", KeyUse::Idle),
];

/// The keys of some tables, and those that every class has and no table.
pub(super) fn in_tables<'a>(
    tables: &'a [&'a [(&'static str, KeyUse)]],
) -> impl Iterator<Item = (&'static str, KeyUse)> + 'a {
    let own = move || tables.iter().copied().flatten().copied();
    own().chain(EVERY_CLASS.iter().copied().filter(move |(key, _)| !own().any(|(known, _)| known == *key)))
}
