//! DistilBERT (Sanh et al. 2019): BERT's blocks under names of its own, without token types and pooler; a head of two
//! layers for classes, both of which are trained.

use super::config_json::MOST_BLOCKS;
use super::keys::KeyUse;
use super::{
    ClassPosition, Classifier, ConfigJson, Input, Labels, Linear, NormOrder, PoolerLayer, Spec, TensorNames,
    TokenTables, gelu,
};
use crate::trainer::TrainerError;
use crate::trainer::kernel::{AttentionPattern, Heads, NormKind, PoolerActivation, RopeParameters};

/// The use of the keys of its configuration class.
pub(super) const KEYS: &[(&str, KeyUse)] = &[
    ("activation", KeyUse::Read),
    ("attention_dropout", KeyUse::Dropout),
    ("bos_token_id", KeyUse::Idle),
    ("dim", KeyUse::Read),
    ("dropout", KeyUse::Dropout),
    ("eos_token_id", KeyUse::Idle),
    ("hidden_dim", KeyUse::Read),
    ("initializer_range", KeyUse::Idle),
    ("is_causal", KeyUse::Idle),
    ("max_position_embeddings", KeyUse::Read),
    ("n_heads", KeyUse::Read),
    ("n_layers", KeyUse::Read),
    // Batches are not padded with it, and its row of the embedding is a row like others.
    ("pad_token_id", KeyUse::Idle),
    // Of a model for question answering.
    ("qa_dropout", KeyUse::Idle),
    ("seq_classif_dropout", KeyUse::Dropout),
    // The start of a table that the checkpoint has.
    ("sinusoidal_pos_embds", KeyUse::Idle),
    // Of the head for masked language modelling.
    ("tie_word_embeddings", KeyUse::Idle),
    ("vocab_size", KeyUse::Read),
];

/// Reads a DistilBERT.
pub(super) fn read(settings: &ConfigJson) -> Result<Spec, TrainerError> {
    let hidden = settings.aliased_size(["dim", "hidden_size"], 768, None)?;
    let query = settings.aliased_size(["n_heads", "num_attention_heads"], 12, None)?;
    let layers = settings.aliased_size(["n_layers", "num_hidden_layers"], 6, Some(MOST_BLOCKS))?;
    let inner = settings.size("hidden_dim", 3072)?;
    let even = hidden.is_multiple_of(2 * query);
    settings.check(even, "dim", hidden, &format!("an even number times the {query} n_heads"))?;
    let heads = Heads { query, key_value: query, size: hidden / query };
    let tables = TokenTables {
        norm: Some("embeddings.LayerNorm"),
        ..TokenTables::plain("embeddings.word_embeddings", Some("embeddings.position_embeddings"))
    };
    let pooler = PoolerLayer { path: "pre_classifier", activation: PoolerActivation::Relu, trained: true };
    let linear = |path, outputs, inputs| Linear { path, outputs, inputs, bias: true, transposed: false };
    Ok(Spec {
        family: "DistilBERT",
        hidden,
        vocabulary: settings.size("vocab_size", 30_522)?,
        positions: settings.size("max_position_embeddings", 512)?,
        heads,
        patterns: vec![AttentionPattern::Full; layers],
        scales: vec![heads.score_scale(); layers],
        turns: RopeParameters::none(heads.size),
        norm: NormKind::Layer,
        norm_order: NormOrder::Post,
        epsilon: 1e-12,
        activation: gelu(settings, "activation", "gelu")?,
        tied: false,
        classifier: Classifier { pooler: Some(pooler), ..Classifier::linear("classifier", true) },
        labels: Labels::read(settings),
        class_position: ClassPosition::First,
        left_out: Vec::new(),
        input: Input::Tokens(tables),
        names: NAMES,
        linears: [
            vec![
                linear("attention.q_lin", hidden, hidden),
                linear("attention.k_lin", hidden, hidden),
                linear("attention.v_lin", hidden, hidden),
            ],
            vec![linear("attention.out_lin", hidden, hidden)],
            vec![linear("ffn.lin1", inner, hidden)],
            vec![linear("ffn.lin2", hidden, inner)],
        ],
    })
}

const NAMES: TensorNames = TensorNames {
    base: "distilbert",
    blocks: "transformer.layer",
    norms: ["sa_layer_norm", "output_layer_norm"],
    head_norms: None,
    last_norm: None,
};

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"{"model_type": "distilbert", "dim": 12, "n_layers": 2, "n_heads": 3, "hidden_dim": 20}"#;

    fn read(from: &str, to: &str) -> Result<Spec, String> {
        Spec::read(CONFIG.replace(from, to).as_bytes(), "config.json").map_err(|error| error.to_string())
    }

    #[test]
    fn the_names_that_other_classes_have_for_a_size_win() {
        let spec = read("", "").unwrap();
        assert_eq!(spec.targets(), ["q_lin", "k_lin", "v_lin", "out_lin", "lin1", "lin2"]);
        assert_eq!((spec.hidden, spec.blocks(), spec.heads.size, spec.linears[2][0].outputs), (12, 2, 4, 20));
        let spec = read("\"dim\": 12", "\"dim\": 12, \"hidden_size\": 24, \"num_hidden_layers\": 3").unwrap();
        assert_eq!((spec.hidden, spec.blocks(), spec.heads.size), (24, 3, 8));
    }

    #[test]
    fn what_the_engine_lacks_is_refused_with_both_values() {
        let error = read("\"n_heads\": 3", "\"n_heads\": 4").unwrap_err();
        assert!(error.contains("dim is 12, but only an even number times the 4 n_heads"), "{error}");
        let error = read("\"dim\"", "\"activation\": \"relu\", \"dim\"").unwrap_err();
        assert!(error.contains("activation is relu, but only gelu"), "{error}");
    }
}
