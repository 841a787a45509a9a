//! The embedding of a model: token ids or image patches in, a hidden state for each position out. Frozen.

use burn::tensor::{Int, Tensor, TensorData};

use super::batch::Batch;
use super::family::{Input, Patches, Spec};
use super::head::LANGUAGE_HEAD;
use super::kept_weight::{FrozenWeight, KeptWeight};
use super::kernel::Place;
use super::weights::Checkpoint;
use super::{Quantize, TrainerError};

/// An embedding of tokens or of image patches.
#[derive(Debug)]
pub(super) enum Embedding {
    /// Token ids.
    Tokens {
        /// `[vocabulary, hidden]`.
        tokens: FrozenWeight,
        /// `[positions, hidden]`, where positions are learned.
        positions: Option<Tensor<2>>,
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
        let table = |name: &str, rows: usize| -> Result<Tensor<2>, TrainerError> {
            let shape = [rows, spec.hidden];
            Ok(place.tensor(values(&format!("{name}.weight"), &shape)?, shape))
        };
        match spec.input {
            Input::Tokens { tokens, positions } => Ok(Self::Tokens {
                tokens: read_table(file, &token_table(file, spec, tokens), spec, (quantize, place))?,
                positions: positions.map(|name| table(name, spec.positions)).transpose()?,
            }),
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

    /// Number of weights.
    pub fn parameters(&self) -> usize {
        let of = |tensor: &Tensor<2>| tensor.dims().iter().product::<usize>();
        match self {
            Self::Tokens { tokens, positions } => {
                tokens.dims().iter().product::<usize>() + positions.as_ref().map_or(0, of)
            }
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
        let at = || -> Vec<i64> {
            let positions = |length: &usize| batch.start as i64..(batch.start + length) as i64;
            batch.lengths.iter().flat_map(positions).collect()
        };
        match self {
            Self::Tokens { tokens, positions } => {
                let x = tokens.select(&batch.tokens, |numbers| indices(numbers, place));
                match positions {
                    Some(positions) => x + positions.clone().select(0, indices(&at(), place)),
                    None => x,
                }
            }
            Self::Patches { projection, positions } => {
                let size = projection.dims()[1];
                let patches = place.tensor(batch.patches.clone(), [batch.patches.len() / size, size]);
                patches.matmul(projection.clone().transpose()) + positions.clone().select(0, indices(&at(), place))
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
