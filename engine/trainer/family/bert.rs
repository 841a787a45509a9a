//! BERT (Devlin et al. 2019), and MiniLM as BERT: learned positions, token types, norms after the sums, full attention.
//! The class is read at the first token, behind the pooler of the pretrained model. RoBERTa is a variant of it.

use super::config_json::MOST_BLOCKS;
use super::keys::KeyUse;
use super::{
    ClassPosition, Classifier, ConfigJson, Input, Labels, Linear, NormOrder, PoolerLayer, Spec, TensorNames,
    TokenTables, gelu,
};
use crate::trainer::TrainerError;
use crate::trainer::kernel::{AttentionPattern, Heads, NormKind, PoolerActivation, RopeParameters};

/// The use of the keys that BERT and RoBERTa share.
pub(super) const SHARED_KEYS: &[(&str, KeyUse)] = &[
    ("add_cross_attention", KeyUse::Only(&["false"])),
    ("attention_probs_dropout_prob", KeyUse::Dropout),
    ("bos_token_id", KeyUse::Idle),
    ("classifier_dropout", KeyUse::Dropout),
    ("eos_token_id", KeyUse::Idle),
    ("hidden_act", KeyUse::Read),
    ("hidden_dropout_prob", KeyUse::Dropout),
    ("hidden_size", KeyUse::Read),
    ("initializer_range", KeyUse::Idle),
    ("intermediate_size", KeyUse::Read),
    // Of a decoder; an encoder's attention is full whatever it says.
    ("is_causal", KeyUse::Idle),
    ("is_decoder", KeyUse::Only(&["false"])),
    ("layer_norm_eps", KeyUse::Read),
    ("max_position_embeddings", KeyUse::Read),
    ("num_attention_heads", KeyUse::Read),
    ("num_hidden_layers", KeyUse::Read),
    // Of versions before 5, which had relative positions too.
    ("position_embedding_type", KeyUse::Only(&["\"absolute\"", "null"])),
    // Of the head for masked language modelling.
    ("tie_word_embeddings", KeyUse::Idle),
    ("type_vocab_size", KeyUse::Read),
    ("use_cache", KeyUse::Idle),
    ("vocab_size", KeyUse::Read),
];

/// The use of the keys of BERT alone.
pub(super) const KEYS: &[(&str, KeyUse)] = &[
    // Batches are not padded with it, and its row of the embedding is a row like others.
    ("pad_token_id", KeyUse::Idle),
];

/// A model of BERT's architecture.
pub(super) struct BertVariant {
    /// The family's name for people.
    pub family: &'static str,
    /// The module of everything but the heads.
    pub base: &'static str,
    /// Vocabulary size.
    pub vocabulary: usize,
    /// The token that takes up no position.
    pub unplaced: Option<u32>,
    /// The head for classes.
    pub classifier: Classifier,
}

/// Reads a BERT.
pub(super) fn read(settings: &ConfigJson) -> Result<Spec, TrainerError> {
    let pooler = PoolerLayer { path: "bert.pooler.dense", activation: PoolerActivation::Tanh, trained: false };
    let classifier = Classifier { pooler: Some(pooler), ..Classifier::linear("classifier", true) };
    let bert = BertVariant { family: "BERT", base: "bert", vocabulary: 30_522, unplaced: None, classifier };
    bert.spec(settings)
}

impl BertVariant {
    /// The spec of a model of BERT's architecture.
    pub fn spec(self, settings: &ConfigJson) -> Result<Spec, TrainerError> {
        let (hidden, query) = (settings.size("hidden_size", 768)?, settings.size("num_attention_heads", 12)?);
        let even = hidden.is_multiple_of(2 * query);
        settings.check(
            even,
            "hidden_size",
            hidden,
            &format!("an even number times the {query} num_attention_heads"),
        )?;
        let inner = settings.size("intermediate_size", 3072)?;
        let layers = settings.size_to("num_hidden_layers", 12, MOST_BLOCKS)?;
        let heads = Heads { query, key_value: query, size: hidden / query };
        let tables = TokenTables {
            types: Some(("embeddings.token_type_embeddings", settings.size("type_vocab_size", 2)?)),
            norm: Some("embeddings.LayerNorm"),
            unplaced: self.unplaced,
            ..TokenTables::plain("embeddings.word_embeddings", Some("embeddings.position_embeddings"))
        };
        let (rows, first) = (settings.size("max_position_embeddings", 512)?, tables.first_position());
        settings.check(rows > first, "max_position_embeddings", rows, &format!("a number above {first}"))?;
        let linear = |path, outputs, inputs| Linear { path, outputs, inputs, bias: true, transposed: false };
        Ok(Spec {
            family: self.family,
            hidden,
            vocabulary: settings.size("vocab_size", self.vocabulary)?,
            positions: rows - first,
            heads,
            patterns: vec![AttentionPattern::Full; layers],
            scales: vec![heads.score_scale(); layers],
            turns: RopeParameters::none(heads.size),
            norm: NormKind::Layer,
            norm_order: NormOrder::Post,
            epsilon: settings.number("layer_norm_eps", 1e-12)? as f32,
            activation: gelu(settings, "hidden_act", "gelu")?,
            tied: false,
            classifier: self.classifier,
            labels: Labels::read(settings),
            class_position: ClassPosition::First,
            left_out: Vec::new(),
            input: Input::Tokens(tables),
            names: TensorNames { base: self.base, ..NAMES },
            linears: [
                vec![
                    linear("attention.self.query", hidden, hidden),
                    linear("attention.self.key", hidden, hidden),
                    linear("attention.self.value", hidden, hidden),
                ],
                vec![linear("attention.output.dense", hidden, hidden)],
                vec![linear("intermediate.dense", inner, hidden)],
                vec![linear("output.dense", hidden, inner)],
            ],
        })
    }
}

const NAMES: TensorNames = TensorNames {
    base: "bert",
    blocks: "encoder.layer",
    norms: ["attention.output.LayerNorm", "output.LayerNorm"],
    head_norms: None,
    last_norm: None,
};

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"{"model_type": "bert", "vocab_size": 9, "hidden_size": 12, "num_hidden_layers": 2,
        "num_attention_heads": 3, "intermediate_size": 20, "max_position_embeddings": 16}"#;

    fn read(from: &str, to: &str) -> Result<Spec, String> {
        assert!(CONFIG.contains(from));
        Spec::read(CONFIG.replace(from, to).as_bytes(), "config.json").map_err(|error| error.to_string())
    }

    #[test]
    fn a_name_of_a_layer_that_the_pooler_has_too_is_no_target() {
        let spec = read("bert", "bert").unwrap();
        assert_eq!(spec.targets(), ["query", "key", "value", "output.dense", "intermediate.dense"]);
        assert!(spec.is_encoder() && spec.positions == 16);
        let roberta = read("\"bert\"", "\"roberta\"").unwrap();
        assert_eq!(roberta.targets(), ["query", "key", "value", "dense"]);
    }

    #[test]
    fn what_the_engine_lacks_is_refused_with_both_values() {
        for (more, says) in [
            (r#""is_decoder": true"#, "is_decoder is true, but only false is"),
            (r#""add_cross_attention": true"#, "add_cross_attention is true, but only false is"),
            (r#""position_embedding_type": "relative_key""#, "position_embedding_type is \"relative_key\", but only"),
            (r#""hidden_act": "relu""#, "hidden_act is relu, but only gelu"),
            (r#""num_attention_heads": 4"#, "hidden_size is 12, but only an even number times the 4 num"),
        ] {
            // Of a key that is there twice the second counts.
            let error = read("16}", &format!("16, {more}}}")).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn positions_of_a_roberta_begin_behind_its_padding() {
        let padded = |padding: &str| read("\"bert\"", &format!("\"roberta\", \"pad_token_id\": {padding}"));
        assert_eq!(read("\"bert\"", "\"roberta\"").unwrap().positions, 14);
        assert_eq!(padded("3").unwrap().positions, 12);
        assert!(padded("15").unwrap_err().contains("max_position_embeddings is 16, but only a number above 16 is"));
        assert!(padded("null").unwrap_err().contains("pad_token_id is null, but only a whole number from 0 on is"));
    }
}
