//! A transformer of any family: token ids or images in; logits, or the loss with the gradient of the adapter out.
//!
//! The backward pass is written by hand. It computes no gradient of a frozen weight, has no tape, and the order of its
//! sums does not depend on other threads: the same inputs give the same bits.

use std::ops::Range;

use burn::tensor::{DType, IndexingUpdateOp, Tensor, Transaction};

use super::batch::Batch;
use super::block::{self, Block, BlockPairs, BlockPlan, BlockSaved, BlockWeights, Pass};
use super::dropout::Dropout;
use super::embedding::{Embedding, indices, read_table, token_table};
use super::family::{Input, Spec, TokenTables};
use super::head::{Head, HeadGradients, HeadPlan, LANGUAGE_HEAD};
use super::kept_weight::FrozenWeight;
use super::kernel::{KeyValueCache, Masks, Norm, Place, Rotary, cross_entropy, sum_losses};
use super::pooler::Pooler;
use super::stored_head::StoredHead;
use super::team::Team;
use super::values::{floats, values};
use super::weights::Checkpoint;
use super::{Quantize, TrainerError};

/// The keys and values of a sequence's positions so far, block by block.
#[derive(Debug, Default)]
pub(super) struct Cache {
    positions: usize,
    blocks: Vec<KeyValueCache>,
}

/// The frozen weights of a model on a device.
#[derive(Debug)]
pub(super) struct Transformer {
    pub spec: Spec,
    pub place: Place,
    embedding: Embedding,
    blocks: Vec<Block>,
    norm: Option<Norm>,
    /// The frozen layer before the head.
    pooler: Option<Pooler>,
    /// `[vocabulary, hidden]`; the embedding itself where the two are tied, `None` where the checkpoint has none.
    language_head: Option<FrozenWeight>,
    /// True where the language head is the embedding.
    tied: bool,
    /// The checkpoint's own classifier head.
    pub stored_head: StoredHead,
    rotary: Rotary,
}

/// The place of an adapter's values in the flat vector, block by block, and the output layer.
#[derive(Debug)]
pub(super) struct AdapterPlan {
    pub blocks: Vec<BlockPlan>,
    pub head: HeadPlan,
}

/// An adapter's values as tensors.
pub(super) struct AdapterTensors {
    pub blocks: Vec<BlockPairs>,
    pub head: Head,
}

impl Transformer {
    /// Reads all weights; those of the blocks' linear layers into 8 bits where `quantize` says so, block by block.
    pub fn read(file: &Checkpoint, spec: Spec, quantize: Quantize, place: Place) -> Result<Self, TrainerError> {
        if quantize == Quantize::Keep && !place.host {
            let expected = "none or int8 on a GPU, which does not read the file's blocks";
            return Err(TrainerError::Setting { key: "model.quantize", found: "keep".into(), expected });
        }
        let embedding = Embedding::read(file, &spec, (quantize, &place))?;
        let (language_head, tied) = read_language_head(file, &spec, &embedding, (quantize, &place))?;
        let read = |number| Block::read(file, &spec, number, (quantize, &place));
        let blocks = (0..spec.blocks()).map(read).collect::<Result<_, _>>()?;
        let norm = spec.names.last_norm.map(|name| block::read_norm(file, &spec, spec.base(name), &place));
        let pooler = spec.classifier.pooler.filter(|pooler| !pooler.trained);
        Ok(Self {
            embedding,
            language_head,
            tied,
            stored_head: StoredHead::read(file, &spec)?,
            blocks,
            norm: norm.transpose()?,
            pooler: pooler.map(|layer| Pooler::read(file, layer, spec.hidden, &place)).transpose()?,
            rotary: Rotary::new(spec.turns.clone(), spec.heads, &spec.scales, &place),
            spec,
            place,
        })
    }

    /// Number of weights.
    pub fn parameters(&self) -> usize {
        let of = |weight: &FrozenWeight| weight.dims().iter().product::<usize>();
        let head = self.language_head.as_ref().filter(|_| !self.tied).map_or(0, of);
        let blocks: usize = self.blocks.iter().map(Block::parameters).sum();
        let pooler = self.pooler.as_ref().map_or(0, Pooler::parameters);
        self.embedding.parameters() + head + blocks + pooler + self.norm.as_ref().map_or(0, Norm::parameters)
    }

    /// The plan of the frozen language head; the error names `model`.
    pub fn language_head(&self, model: &str) -> Result<HeadPlan, TrainerError> {
        if self.spec.is_encoder() {
            return Err(TrainerError::Encoder { model: model.into(), family: self.spec.family });
        }
        let missing = || TrainerError::MissingTensor { file: model.into(), tensor: LANGUAGE_HEAD.into() };
        self.language_head.clone().map(HeadPlan::Language).ok_or_else(missing)
    }

    /// The weights with an adapter's residuals added. They hold while the residuals do not change, so a local run makes
    /// them once.
    pub fn with_residuals(&self, plan: &AdapterPlan, flat: &[f32]) -> Vec<BlockWeights> {
        let blocks = self.blocks.iter().zip(&plan.blocks);
        blocks.map(|(block, plan)| block.with_residuals(plan, flat, &self.place)).collect()
    }

    /// The tensors of an adapter; `weights` of as many blocks as the model has.
    pub fn adapter_tensors(&self, plan: &AdapterPlan, weights: &[BlockWeights], flat: &[f32]) -> AdapterTensors {
        let of_block = |(plan, weights): (&BlockPlan, &BlockWeights)| {
            std::array::from_fn(|number| plan[number].pairs(flat, weights[number].as_ref(), &self.place))
        };
        let blocks = plan.blocks.iter().zip(weights).map(of_block).collect();
        AdapterTensors { blocks, head: plan.head.head(flat, &self.place) }
    }

    /// The base model without any pair, with this output layer.
    pub fn without_pairs(&self, head: Head) -> AdapterTensors {
        AdapterTensors { blocks: self.blocks.iter().map(|_| BlockPairs::default()).collect(), head }
    }

    /// The sum of a batch's losses in nats, and the number of right predictions.
    pub fn loss(&self, batch: &Batch, adapted: &AdapterTensors) -> Result<(f64, u64), TrainerError> {
        let hidden = self.hidden(batch, adapted).select(0, indices(&batch.rows, &self.place));
        let read = self.behind_blocks(&hidden);
        let (mut loss_sum, mut correct) = (0.0, 0);
        for part in adapted.head.parts(&read) {
            let (logits, _) = adapted.head.forward(part_of(&read, &part), (&self.place, None));
            let of_part = cross_entropy(logits, &batch.targets[part], batch.targets.len(), &self.place);
            let (loss, hits) = sum_losses(&values(of_part.rows)?);
            loss_sum += loss;
            correct += hits;
        }
        Ok((loss_sum, correct))
    }

    /// Logits `[rows, vocabulary or classes]` of some rows of a batch.
    pub fn logits(&self, batch: &Batch, adapted: &AdapterTensors) -> Tensor<2> {
        let hidden = self.hidden(batch, adapted);
        self.logits_of(&hidden.select(0, indices(&batch.rows, &self.place)), &adapted.head, None)
    }

    /// The logits `[1, vocabulary]` of the last of `tokens`, which follow those that the cache has seen, and which it gets
    /// too. The cache begins as `Cache::default()`. The team's threads are of use in main memory alone.
    pub fn extend(&self, tokens: &[u32], adapted: &AdapterTensors, cache: &mut Cache, team: &Team) -> Tensor<2> {
        let batch = Batch::of_next(tokens, cache.positions);
        let team = self.place.host.then_some(team);
        let pass = Pass { team, ..self.pass(&batch) };
        cache.blocks.resize_with(self.blocks.len(), KeyValueCache::default);
        cache.positions += tokens.len();
        let blocks = self.blocks.iter().zip(&adapted.blocks).zip(&mut cache.blocks);
        let hidden = blocks.fold(self.embedding.forward(&batch, &self.place), |x, ((block, pairs), cache)| {
            block.extend(x, pairs, &pass, cache)
        });
        self.logits_of(&hidden.select(0, indices(&batch.rows, &self.place)), &adapted.head, team)
    }

    /// The sum of the losses of a batch in nats; writes the gradient of their mean to `gradient`, flat. With
    /// `checkpointing` a block saves its input alone and its backward pass computes the rest again (Chen et al. 2016):
    /// the same bits, for less memory and a second forward pass.
    pub fn loss_and_gradient(
        &self,
        batch: &Batch,
        plan: &AdapterPlan,
        adapted: &AdapterTensors,
        (mut dropout, checkpointing): (Option<&mut Dropout>, bool),
        gradient: &mut [f32],
    ) -> Result<f64, TrainerError> {
        let pass = self.pass(batch);
        let mut x = self.embedding.forward(batch, &self.place);
        let shape = x.dims();
        let mut saved: Vec<SavedBlock> = Vec::with_capacity(self.blocks.len());
        for (block, pairs) in self.blocks.iter().zip(&adapted.blocks) {
            let before = checkpointing.then(|| (x.clone(), dropout.as_deref().cloned()));
            let (output, of_block) = block.forward(x, pairs, &pass, dropout.as_deref_mut());
            x = output;
            saved.push(match before {
                Some((input, dropout)) => SavedBlock::Input(input, dropout),
                None => SavedBlock::All(of_block),
            });
        }
        let rows = indices(&batch.rows, &self.place);
        let last = x.select(0, rows.clone());
        let read = self.behind_blocks(&last);
        let (mut losses, mut of_read) = (Vec::new(), Vec::new());
        for part in adapted.head.parts(&read) {
            let (logits, saved) = adapted.head.forward(part_of(&read, &part), (&self.place, None));
            let loss = cross_entropy(logits, &batch.targets[part], batch.targets.len(), &self.place);
            let HeadGradients { of_input, of_sum } = adapted.head.backward(&saved, loss.gradient.clone(), &self.place);
            plan.head.write_gradient(saved, of_sum, loss.gradient, gradient)?;
            of_read.push(of_input);
            losses.push(loss.rows);
        }
        let parts = losses.len();
        let of_read = if parts == 1 { of_read.remove(0) } else { Tensor::cat(of_read, 0) };
        let of_last = self.behind_blocks_backward(&last, &read, of_read);
        let mut of_x = Tensor::zeros(shape, (&self.place.device, self.place.dtype));
        of_x = of_x.select_assign(0, rows, of_last, IndexingUpdateOp::Add);
        // All results are read at once: a device that has to answer in between runs idle.
        let (mut read, mut places) = (Transaction::default(), Vec::new());
        for losses in losses {
            read = read.register(losses);
        }
        for (number, ((block, saved), plan)) in self.blocks.iter().zip(saved).zip(&plan.blocks).enumerate().rev() {
            let pairs = &adapted.blocks[number];
            let saved = match saved {
                SavedBlock::All(saved) => saved,
                SavedBlock::Input(input, mut dropout) => block.forward(input, pairs, &pass, dropout.as_mut()).1,
            };
            let (of_input, of_pairs) = block.backward(saved, pairs, of_x, &pass, number > 0);
            of_x = of_input;
            for (plan, of_pairs) in plan.iter().zip(of_pairs) {
                let Some([of_a, of_b]) = of_pairs else { continue };
                read = read.register(of_a.cast(DType::F32)).register(of_b.cast(DType::F32));
                places.push(plan);
            }
        }
        let read = read.try_execute().map_err(|error| TrainerError::Compute(format!("{error:?}")))?;
        let read: Vec<Vec<f32>> = read.into_iter().map(floats).collect::<Result<_, _>>()?;
        let (losses, of_pairs) = read.split_at(parts);
        for (plan, of_pairs) in places.into_iter().zip(of_pairs.chunks_exact(2)) {
            plan.write_gradients(&of_pairs[0], &of_pairs[1], gradient);
        }
        Ok(losses.iter().map(|losses| sum_losses(losses).0).sum())
    }

    /// The values of the token embedding or of the language head, by their name in checkpoints.
    pub fn stored_values(&self, name: &str) -> Option<Vec<f32>> {
        let Input::Tokens(TokenTables { tokens, .. }) = self.spec.input else { return None };
        let tensor = match name {
            LANGUAGE_HEAD => self.language_head.as_ref()?,
            name if name == self.spec.base(&format!("{tokens}.weight")) => self.embedding.tokens()?,
            _ => return None,
        };
        values(tensor.whole()).ok()
    }

    #[cfg(test)]
    pub fn embedding_values(&self) -> Vec<f32> {
        self.embedding.tokens().unwrap().whole().to_data().try_into_vec().unwrap()
    }

    fn hidden(&self, batch: &Batch, adapted: &AdapterTensors) -> Tensor<2> {
        let pass = self.pass(batch);
        let blocks = self.blocks.iter().zip(&adapted.blocks);
        blocks.fold(self.embedding.forward(batch, &self.place), |x, (block, pairs)| {
            block.forward(x, pairs, &pass, None).0
        })
    }

    fn pass<'a>(&'a self, batch: &'a Batch) -> Pass<'a> {
        let masks = Masks::new(&self.spec.patterns, &batch.unpadded, &self.place);
        Pass {
            rotary: &self.rotary,
            masks,
            heads: self.spec.heads,
            place: &self.place,
            lengths: &batch.lengths,
            start: batch.start,
            team: None,
        }
    }

    /// The input of the head: the last block's output behind the last norm and the frozen pooler, where there are such.
    fn behind_blocks(&self, hidden: &Tensor<2>) -> Tensor<2> {
        let normed = self.norm.as_ref().map_or_else(|| hidden.clone(), |norm| norm.forward(hidden));
        match &self.pooler {
            Some(pooler) => pooler.forward(normed, &self.place),
            None => normed,
        }
    }

    /// The gradient of the last block's output, given the head's input and its gradient.
    fn behind_blocks_backward(&self, hidden: &Tensor<2>, read: &Tensor<2>, gradient: Tensor<2>) -> Tensor<2> {
        let gradient = match &self.pooler {
            Some(pooler) => {
                let [_, of_normed] = pooler.backward(read, gradient, &self.place);
                of_normed
            }
            None => gradient,
        };
        match &self.norm {
            Some(norm) => norm.backward(hidden, gradient, hidden.zeros_like()),
            None => gradient,
        }
    }

    fn logits_of(&self, hidden: &Tensor<2>, head: &Head, team: Option<&Team>) -> Tensor<2> {
        head.forward(self.behind_blocks(hidden), (&self.place, team)).0
    }
}

/// The language head, and true where it is the embedding. Where config.json ties the two but the checkpoint has both
/// with other values, they are not tied, as in `transformers` 5.
fn read_language_head(
    file: &Checkpoint,
    spec: &Spec,
    embedding: &Embedding,
    (quantize, place): (Quantize, &Place),
) -> Result<(Option<FrozenWeight>, bool), TrainerError> {
    let (Input::Tokens(TokenTables { tokens, .. }), false) = (spec.input, spec.is_encoder()) else {
        return Ok((None, false));
    };
    let shape = [spec.vocabulary, spec.hidden];
    if !file.has(LANGUAGE_HEAD) {
        return Ok((embedding.tokens().cloned().filter(|_| spec.tied), spec.tied));
    }
    // The spec of a GGUF file ties the two where it has no head.
    if quantize == Quantize::Keep {
        return Ok((Some(read_table(file, LANGUAGE_HEAD, spec, (quantize, place))?), false));
    }
    let own = file.values(LANGUAGE_HEAD, &shape)?;
    if spec.tied && file.values(&token_table(file, spec, tokens), &shape)? == own {
        return Ok((embedding.tokens().cloned(), true));
    }
    Ok((Some(FrozenWeight::Tensor(place.tensor(own, shape))), false))
}

/// The result of a block's forward pass that is saved for its backward pass.
#[expect(clippy::large_enum_variant, reason = "there is one a block; a box would buy nothing")]
enum SavedBlock {
    /// All tensors.
    All(BlockSaved),
    /// Its input, and the dropout stream before the block.
    Input(Tensor<2>, Option<Dropout>),
}

/// A range of the rows of a tensor.
fn part_of(rows: &Tensor<2>, part: &Range<usize>) -> Tensor<2> {
    match part.len() == rows.dims()[0] {
        true => rows.clone(),
        false => rows.clone().slice([part.clone()]),
    }
}
