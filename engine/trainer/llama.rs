//! The Llama family: token ids in; hidden states, logits, or the loss with the gradient of the adapter out.
//!
//! The backward pass is written out by hand. It computes no gradient of a frozen weight, has no tape, and its sums run
//! in an order that no other thread can change: the same inputs give the same bits.

use burn::tensor::{IndexingUpdateOp, Int, Tensor, TensorData};

use super::TrainerError;
use super::batch::Batch;
use super::block::{self, Block, BlockKept, BlockPairs, BlockPlan, BlockWeights, Pass};
use super::checkpoint::{Checkpoint, LlamaConfig};
use super::dropout::Dropout;
use super::kernel::{Place, RmsNorm, Rotary, cross_entropy};

/// Frozen weights on a device.
#[derive(Debug)]
pub(super) struct Llama {
    pub config: LlamaConfig,
    pub place: Place,
    embedding: Tensor<2>,
    blocks: Vec<Block>,
    norm: RmsNorm,
    /// `[vocabulary, hidden]`; the embedding itself where the two are tied.
    head: Tensor<2>,
    rotary: Rotary,
}

impl Llama {
    /// Reads all weights.
    pub fn read(file: &Checkpoint, config: LlamaConfig, place: Place) -> Result<Self, TrainerError> {
        let shape = [config.vocab_size, config.hidden_size];
        let embedding = place.tensor(file.values("model.embed_tokens.weight", &shape)?, shape);
        let head = match config.tie_word_embeddings {
            true => embedding.clone(),
            false => place.tensor(file.values("lm_head.weight", &shape)?, shape),
        };
        let norm = file.values("model.norm.weight", &[config.hidden_size])?;
        let blocks =
            (0..config.layers).map(|layer| Block::read(file, &config, layer, &place)).collect::<Result<_, _>>()?;
        Ok(Self {
            embedding,
            head,
            blocks,
            norm: RmsNorm::new(norm, config.rms_norm_eps, &place),
            rotary: Rotary::new(config.positions, config.rope_theta(), block::heads(&config), &place),
            config,
            place,
        })
    }

    /// How many weights there are.
    pub fn parameters(&self) -> usize {
        let of = |tensor: &Tensor<2>| tensor.dims().iter().product::<usize>();
        let head = if self.config.tie_word_embeddings { 0 } else { of(&self.head) };
        let blocks: usize = self.blocks.iter().map(Block::parameters).sum();
        of(&self.embedding) + head + blocks + self.config.hidden_size
    }

    /// The weights that an adapter's residuals change. They hold until the residuals do; a local run makes them once.
    pub fn with_residuals(&self, plan: &[BlockPlan], flat: &[f32]) -> Vec<BlockWeights> {
        self.blocks.iter().zip(plan).map(|(block, plan)| block.with_residuals(plan, flat, &self.place)).collect()
    }

    /// The matrices of an adapter; `plan` and `weights` of as many blocks as the model has.
    pub fn pairs(&self, plan: &[BlockPlan], weights: &[BlockWeights], flat: &[f32]) -> Vec<BlockPairs> {
        let of_block = |(plan, weights): (&BlockPlan, &BlockWeights)| {
            std::array::from_fn(|number| plan[number].pairs(flat, weights[number].as_ref(), &self.place))
        };
        plan.iter().zip(weights).map(of_block).collect()
    }

    /// The sum of the losses of a batch in nats.
    pub fn loss(&self, batch: &Batch, pairs: &[BlockPairs]) -> f64 {
        let hidden = self.hidden(&batch.tokens, &batch.lengths, pairs);
        let logits = self.head(&hidden.select(0, self.indices(&batch.rows)));
        cross_entropy(logits, &batch.targets, &self.place).0
    }

    /// Logits `[tokens, vocabulary]` of every position of one sequence.
    pub fn logits(&self, tokens: &[i64], pairs: &[BlockPairs]) -> Tensor<2> {
        self.head(&self.hidden(tokens, &[tokens.len()], pairs))
    }

    /// The sum of the losses of a batch in nats; writes the gradient of their mean to `gradient`, flat.
    pub fn loss_and_gradient(
        &self,
        batch: &Batch,
        plan: &[BlockPlan],
        pairs: &[BlockPairs],
        mut dropout: Option<&mut Dropout>,
        gradient: &mut [f32],
    ) -> Result<f64, TrainerError> {
        let pass = self.pass(&batch.lengths);
        let mut x = self.embed(&batch.tokens);
        let mut kept: Vec<BlockKept> = Vec::with_capacity(self.blocks.len());
        for (block, pairs) in self.blocks.iter().zip(pairs) {
            let (output, of_block) = block.forward(x, pairs, &pass, dropout.as_deref_mut());
            x = output;
            kept.push(of_block);
        }
        let rows = self.indices(&batch.rows);
        let last = x.select(0, rows.clone());
        let (loss, of_logits) = cross_entropy(self.head(&last), &batch.targets, &self.place);
        let of_normed = of_logits.matmul(self.head.clone());
        let nothing = Tensor::zeros(last.dims(), &self.place.device);
        let of_last = self.norm.backward(&last, of_normed, nothing);
        let mut of_x = Tensor::zeros([batch.tokens.len(), self.config.hidden_size], &self.place.device);
        of_x = of_x.select_assign(0, rows, of_last, IndexingUpdateOp::Add);
        for (number, ((block, kept), plan)) in self.blocks.iter().zip(kept).zip(plan).enumerate().rev() {
            let (of_input, of_pairs) = block.backward(kept, &pairs[number], of_x, &pass, number > 0);
            of_x = of_input;
            for (plan, of_pairs) in plan.iter().zip(of_pairs) {
                let Some([of_a, of_b]) = of_pairs else { continue };
                plan.collect(&values(of_a)?, &values(of_b)?, gradient);
            }
        }
        Ok(loss)
    }

    #[cfg(test)]
    pub fn embedding_values(&self) -> Vec<f32> {
        self.embedding.to_data().try_into_vec().unwrap()
    }

    fn hidden(&self, tokens: &[i64], lengths: &[usize], pairs: &[BlockPairs]) -> Tensor<2> {
        let pass = self.pass(lengths);
        let blocks = self.blocks.iter().zip(pairs);
        blocks.fold(self.embed(tokens), |x, (block, pairs)| block.forward(x, pairs, &pass, None).0)
    }

    fn pass<'a>(&'a self, lengths: &'a [usize]) -> Pass<'a> {
        Pass { rotary: &self.rotary, heads: block::heads(&self.config), place: &self.place, lengths }
    }

    fn embed(&self, tokens: &[i64]) -> Tensor<2> {
        self.embedding.clone().select(0, self.indices(tokens))
    }

    fn head(&self, hidden: &Tensor<2>) -> Tensor<2> {
        self.norm.forward(hidden).matmul(self.head.clone().transpose())
    }

    fn indices(&self, values: &[i64]) -> Tensor<1, Int> {
        Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), &self.place.device)
    }
}

/// The values of a tensor, row-major.
pub(super) fn values<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, TrainerError> {
    let failed = |reason: String| TrainerError::Compute(reason);
    let data = tensor.try_into_data().map_err(|error| failed(format!("{error:?}")))?;
    data.try_into_vec().map_err(|error| failed(format!("{error:?}")))
}
