//! The use that the engine makes of each key of the configuration classes of `transformers` 5. A key that is in no
//! table is one that its class does not have; `transformers` ignores it, and so does the engine.

/// The use of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::trainer) enum Means {
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
pub(super) const EVERY_CLASS: &[(&str, Means)] = &[
    ("architectures", Means::Idle),
    ("chunk_size_feed_forward", Means::Idle),
    ("dtype", Means::Idle),
    ("id2label", Means::Read),
    ("is_causal", Means::Only(&["true"])),
    ("is_encoder_decoder", Means::Idle),
    ("label2id", Means::Read),
    ("num_labels", Means::Idle),
    ("output_hidden_states", Means::Idle),
    ("per_layer_config", Means::Only(&["null", "{}"])),
    ("problem_type", Means::Read),
    ("return_dict", Means::Idle),
    ("torch_dtype", Means::Idle),
    ("transformers_version", Means::Idle),
];
