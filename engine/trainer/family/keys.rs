//! What the keys of the configuration classes of `transformers` 5 mean to the engine. A key that is in no table is one that
//! its class does not have; `transformers` reads over it, and so does the engine.

/// What a key means here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::trainer) enum Means {
    /// The family reads it.
    Read,
    /// It changes nothing that is computed here.
    Idle,
    /// Dropout of the model in training. The frozen model has none; that it is left out is said.
    Dropout,
    /// Its value changes what is computed: refused, unless it is one of these, as JSON.
    Only(&'static [&'static str]),
}

/// Those that every class has, or that are read of every class.
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
