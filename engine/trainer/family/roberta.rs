//! RoBERTa (Liu et al. 2019): BERT's blocks, with positions that begin behind the padding's number, and a head of two
//! layers for classes, both of which are trained.

use super::bert::BertVariant;
use super::keys::KeyUse;
use super::{Classifier, ConfigJson, PoolerLayer, Spec};
use crate::trainer::TrainerError;
use crate::trainer::kernel::PoolerActivation;

/// The use of the keys of RoBERTa alone.
pub(super) const KEYS: &[(&str, KeyUse)] = &[("pad_token_id", KeyUse::Read)];

/// Reads a RoBERTa.
pub(super) fn read(settings: &ConfigJson) -> Result<Spec, TrainerError> {
    let padding = match settings.is_null("pad_token_id") {
        false => settings.number("pad_token_id", 1.0)?,
        // Without one `transformers` has no positions.
        true => return Err(settings.unsupported("pad_token_id", "null", "a whole number from 0 on")),
    };
    let unplaced = (padding.fract() == 0.0 && (0.0..f64::from(u32::MAX)).contains(&padding)).then_some(padding as u32);
    let odd = || settings.unsupported("pad_token_id", padding, "a whole number from 0 on");
    let pooler = PoolerLayer { path: "classifier.dense", activation: PoolerActivation::Tanh, trained: true };
    let roberta = BertVariant {
        family: "RoBERTa",
        base: "roberta",
        vocabulary: 50_265,
        unplaced: Some(unplaced.ok_or_else(odd)?),
        classifier: Classifier { pooler: Some(pooler), ..Classifier::linear("classifier.out_proj", true) },
    };
    roberta.spec(settings)
}
