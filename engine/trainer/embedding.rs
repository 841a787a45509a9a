//! The embedding of a model: token ids or image patches in, a hidden state for each position out. Frozen.

use burn::tensor::{Int, Tensor, TensorData};

use super::batch::Batch;
use super::block::read_norm;
use super::family::{Input, Patches, Spec, TokenTables};
use super::head::LANGUAGE_HEAD;
use super::kept_weight::{FrozenWeight, KeptWeight};
use super::kernel::{Norm, Place};
use super::weights::Checkpoint;
use super::{Quantize, TrainerError};

/// An embedding of tokens or of image patches.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one a model; a box would buy nothing")]
pub(super) enum Embedding {
    /// Token ids.
    Tokens {
        /// `[vocabulary, hidden]`.
        tokens: FrozenWeight,
        /// The rows of the position embedding, `[rows, hidden]`, where positions are learned; each plus the row of the
        /// first token type, which every token has.
        positions: Option<Tensor<2>>,
        /// The norm of their sum.
        norm: Option<Norm>,
        /// The token that takes up no position.
        unplaced: Option<u32>,
        /// Number of weights of all tables.
        parameters: usize,
    },
    /// Patches of images.
    Patches {
        /// `[hidden, values of a patch]`.
        projection: Tensor<2>,
        /// `[positions, hidden]`: the class token, then for each patch the projection's bias; each plus its position
        /// embedding.
        positions: Tensor<2>,
    },
}

impl Embedding {
    /// Reads the weights.
    pub fn read(file: &Checkpoint, spec: &Spec, (quantize, place): (Quantize, &Place)) -> Result<Self, TrainerError> {
        let values = |part: &str, shape: &[usize]| file.values(&file.checkpoint_name(&spec.base(part)), shape);
        match spec.input {
            Input::Tokens(tables) => Self::read_tokens(file, spec, tables, (quantize, place)),
            Input::Patches(patches) => {
                let Patches { channels, patch, .. } = patches;
                let shape = [spec.hidden, channels, patch[0], patch[1]];
                let projection = values("embeddings.patch_embeddings.projection.weight", &shape)?;
                let bias = values("embeddings.patch_embeddings.projection.bias", &[spec.hidden])?;
                let whole = values("embeddings.cls_token", &[1, 1, spec.hidden])?;
                let mut positions = values("embeddings.position_embeddings", &[1, spec.positions, spec.hidden])?;
                for (number, row) in positions.chunks_exact_mut(spec.hidden).enumerate() {
                    let added = if number == 0 { &whole } else { &bias };
                    row.iter_mut().zip(added).for_each(|(to, value)| *to += value);
                }
                Ok(Self::Patches {
                    projection: place.tensor(projection, [spec.hidden, patches.values()]),
                    positions: place.tensor(positions, [spec.positions, spec.hidden]),
                })
            }
        }
    }

    fn read_tokens(
        file: &Checkpoint,
        spec: &Spec,
        tables: TokenTables,
        (quantize, place): (Quantize, &Place),
    ) -> Result<Self, TrainerError> {
        let hidden = spec.hidden;
        let table = |name: &str, rows: usize| {
            file.values(&file.checkpoint_name(&spec.base(&format!("{name}.weight"))), &[rows, hidden])
        };
        let tokens = read_table(file, &token_table(file, spec, tables.tokens), spec, (quantize, place))?;
        let rows = spec.positions + tables.first_position();
        let mut positions = tables.positions.map(|name| table(name, rows)).transpose()?;
        let types = tables.types.map(|(name, types)| table(name, types)).transpose()?.unwrap_or_default();
        for row in positions.iter_mut().flat_map(|positions| positions.chunks_exact_mut(hidden)) {
            row.iter_mut().zip(&types).for_each(|(to, value)| *to += value);
        }
        let norm = tables.norm.map(|name| read_norm(file, spec, spec.base(name), place)).transpose()?;
        Ok(Self::Tokens {
            parameters: tokens.dims().iter().product::<usize>()
                + positions.as_ref().map_or(0, Vec::len)
                + types.len()
                + norm.as_ref().map_or(0, Norm::parameters),
            tokens,
            positions: positions.map(|positions| place.tensor(positions, [rows, hidden])),
            norm,
            unplaced: tables.unplaced,
        })
    }

    /// Number of weights.
    pub fn parameters(&self) -> usize {
        let of = |tensor: &Tensor<2>| tensor.dims().iter().product::<usize>();
        match self {
            Self::Tokens { parameters, .. } => *parameters,
            // The bias and the class token are in the table of positions.
            Self::Patches { projection, positions } => of(projection) + of(positions) + 2 * positions.dims()[1],
        }
    }

    /// The token embedding, `[vocabulary, hidden]`, which may be the language head too.
    pub fn tokens(&self) -> Option<&FrozenWeight> {
        match self {
            Self::Tokens { tokens, .. } => Some(tokens),
            Self::Patches { .. } => None,
        }
    }

    /// The hidden states of a batch, `[sum of lengths, hidden]`.
    pub fn forward(&self, batch: &Batch, place: &Place) -> Tensor<2> {
        match self {
            Self::Tokens { tokens, positions, norm, unplaced, .. } => {
                let x = tokens.select(&batch.tokens, |numbers| indices(numbers, place));
                let x = match positions {
                    Some(positions) => x + positions.clone().select(0, indices(&batch.positions(*unplaced), place)),
                    None => x,
                };
                norm.as_ref().map_or_else(|| x.clone(), |norm| norm.forward(&x))
            }
            Self::Patches { projection, positions } => {
                let size = projection.dims()[1];
                let patches = place.tensor(batch.patches.clone(), [batch.patches.len() / size, size]);
                patches.matmul(projection.clone().transpose())
                    + positions.clone().select(0, indices(&batch.positions(None), place))
            }
        }
    }
}

/// The checkpoint's name of the token embedding: `tokens`, or the name of the language head where the two are tied and
/// the file has that one alone.
pub(super) fn token_table(file: &Checkpoint, spec: &Spec, tokens: &str) -> String {
    let name = file.checkpoint_name(&spec.base(&format!("{tokens}.weight")));
    match spec.tied && !file.has(&name) && file.has(LANGUAGE_HEAD) {
        true => LANGUAGE_HEAD.into(),
        false => name,
    }
}

/// Reads a table `[vocabulary, hidden]`, which stays in its file where `quantize` says so.
pub(super) fn read_table(
    file: &Checkpoint,
    name: &str,
    spec: &Spec,
    (quantize, place): (Quantize, &Place),
) -> Result<FrozenWeight, TrainerError> {
    let shape = [spec.vocabulary, spec.hidden];
    match quantize {
        Quantize::Keep => Ok(FrozenWeight::Kept(KeptWeight::new(vec![file.kept_rows(name, &shape)?], shape[1], place))),
        _ => Ok(FrozenWeight::Tensor(place.tensor(file.values(name, &shape)?, shape))),
    }
}

/// Row numbers as a tensor on the device.
pub(super) fn indices(values: &[i64], place: &Place) -> Tensor<1, Int> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), &place.device)
}
