//! Local training and evaluation: adapter values and sequences in; a delta, a loss or logits out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::batch::{Batch, Limits, shuffled};
use super::dropout::Dropout;
use super::head::HeadPlan;
use super::optimizer::Optimizer;
use super::trainable::Trainable;
use super::transformer::{AdapterPlan, AdapterTensors};
use super::values::values;
use super::{HeadStart, LocalConfig, LoraConfig, Model, TrainerError, lora};
use crate::adapter::{AdapterDelta, AdapterLayout, AdapterWeights, peft};
use crate::data::Sequence;
use crate::random::{Purpose, stream};

/// The key of all random choices of a local run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrainKey {
    /// The run's seed.
    pub seed: u64,
    /// The round.
    pub round: u32,
    /// The client's index in the roster.
    pub client: u32,
}

/// The result of local training.
#[derive(Debug, Clone, PartialEq)]
pub struct Trained {
    /// Local end minus local start.
    pub delta: AdapterDelta,
    /// Mean loss in nats a prediction over the whole run, each batch before its step.
    pub loss: f64,
    /// Optimizer steps.
    pub steps: u32,
    /// Predictions over the whole run: tokens, or classes.
    pub tokens: u64,
}

/// The loss and accuracy of some sequences.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Evaluated {
    /// Sum of the losses, nats.
    pub loss_sum: f64,
    /// Predictions: tokens, or sequences in classification.
    pub tokens: u64,
    /// Predictions whose most likely choice is the right one.
    pub correct: u64,
}

impl Evaluated {
    /// Mean nats a prediction.
    pub fn loss(&self) -> f64 {
        self.loss_sum / self.tokens as f64
    }

    /// Share of the right predictions.
    pub fn accuracy(&self) -> f64 {
        self.correct as f64 / self.tokens as f64
    }

    /// Adds the result of other sequences.
    pub fn add(&mut self, other: Self) {
        self.loss_sum += other.loss_sum;
        self.tokens += other.tokens;
        self.correct += other.correct;
    }
}

/// A base model and an adapter layout: trains and evaluates adapter values. Called from any number of threads at once.
#[derive(Debug)]
pub struct Trainer {
    model: Arc<Model>,
    layout: Arc<AdapterLayout>,
    plan: AdapterPlan,
    start: AdapterWeights,
    dropout: f32,
    left_out: Vec<String>,
}

impl Trainer {
    /// Lays the adapter out and makes its start: seeded by `seed`, the run's, or read from `lora.init`. With `classes`
    /// 0 the model predicts the next token; otherwise a trained classifier head in the adapter predicts one of so many
    /// classes from the last token of a sequence, or with an encoder from the first. That head starts from the one in
    /// `lora.init`, else from the checkpoint's where it has as many classes, else from zero; always from zero with
    /// `lora.head` zero. Where it has two layers, the first one starts from a seeded draw in place of zero.
    /// [`Model::order_classes`] puts the data's classes in its order.
    ///
    /// # Errors
    /// [`TrainerError`] where a setting or target is wrong, the checkpoint has no language head and one is needed, or the
    /// PEFT folder does not fit the layout.
    pub fn new(model: Arc<Model>, lora: &LoraConfig, classes: usize, seed: u64) -> Result<Self, TrainerError> {
        let (layout, blocks, head) = lora::plan(&model.transformer.spec, lora, classes, seed)?;
        let mut start = layout.start();
        let head = match head {
            Some(plan) => {
                let flat = Arc::<Vec<f32>>::make_mut(&mut start.0);
                // With the last layer at zero no gradient would ever reach a layer before it that is zero too.
                if let Some(pooler) = &plan.pooler {
                    let seeded = layout.tensors().iter().filter(|tensor| tensor.offset == pooler.weight.start);
                    seeded.for_each(|tensor| flat[pooler.weight.clone()].copy_from_slice(&tensor.seeded_start()));
                }
                if lora.head == HeadStart::Own {
                    model.transformer.stored_head.start(&plan, flat);
                }
                HeadPlan::Classes(plan)
            }
            None => model.transformer.language_head(model.name())?,
        };
        let mut left_out = model.transformer.spec.left_out.clone();
        if let Some(folder) = &lora.init {
            let read = peft::read(folder, &layout, start, lora.head == HeadStart::Own)?;
            for (named, values) in read.whole {
                model.check_replaced(folder, named.tensor, &values)?;
            }
            left_out.extend(read.left_out);
            start = read.weights;
        }
        let plan = AdapterPlan { blocks, head };
        Ok(Self { model, layout: Arc::new(layout), plan, start, dropout: lora.dropout, left_out })
    }

    /// Settings of the model and of `lora.init` that are ignored, as notes for people.
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// The base model.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// The adapter's tensors, in flat order.
    pub fn layout(&self) -> &Arc<AdapterLayout> {
        &self.layout
    }

    /// Classes of the classifier head; 0 where the next token is predicted.
    pub fn classes(&self) -> usize {
        self.plan.head.classes()
    }

    /// The adapter values at the start of a run: `lora.init` where it is set, else the seeded start.
    pub fn start(&self) -> &AdapterWeights {
        &self.start
    }

    /// Trains from `start` on a client's shard. The same arguments give the same bits, whatever else runs. Where
    /// `trainable` lists coordinates, strictly increasing, only these change: the delta of the others is exactly zero,
    /// and the gradient's norm is taken without them. Residuals never change.
    ///
    /// # Errors
    /// [`TrainerError::NotFinite`] where the loss or gradient is no number, [`TrainerError::Cancelled`] where `cancel`
    /// was set before a step, else the error of the settings or sequences.
    pub fn train(
        &self,
        start: &[f32],
        shard: &[Sequence],
        local: &LocalConfig,
        key: TrainKey,
        cancel: &AtomicBool,
        trainable: Option<&[u32]>,
    ) -> Result<Trained, TrainerError> {
        check(local)?;
        let shard = self.limits().with_targets(shard)?;
        let mut order = stream(key.seed, Purpose::Shuffle, key.round, key.client);
        let dropout = stream(key.seed, Purpose::Dropout, key.round, key.client);
        let mut dropout = (self.dropout > 0.0).then_some(Dropout { stream: dropout, share: self.dropout });
        let steps = match local.steps {
            0 => local.epochs * shard.len().div_ceil(local.batch) as u32,
            steps => steps,
        };
        let mut weights = self.check_values(start)?.to_vec();
        let trained = self.layout.trained();
        let mut gradient = vec![0.0; trained];
        let mut trainable = trainable.map(|at| Trainable::new(at, &self.layout)).transpose()?;
        let mut optimizer = Optimizer::new(local, trainable.as_ref().map_or(trained, Trainable::count));
        let transformer = &self.model.transformer;
        let with_residuals = transformer.with_residuals(&self.plan, &weights);
        let (mut loss_sum, mut tokens) = (0.0, 0);
        let mut left: Vec<usize> = Vec::new();
        for step in 0..steps {
            if cancel.load(Ordering::Relaxed) {
                return Err(TrainerError::Cancelled { step });
            }
            if left.is_empty() {
                left = shuffled(shard.len(), &mut order);
            }
            let chosen = left.drain(..local.batch.min(left.len()));
            let batch = self.batch(&chosen.map(|number| shard[number]).collect::<Vec<_>>());
            let adapted = transformer.adapter_tensors(&self.plan, &with_residuals, &weights);
            let how = (dropout.as_mut(), local.gradient_checkpointing);
            let loss = transformer.loss_and_gradient(&batch, &self.plan, &adapted, how, &mut gradient)?;
            if !loss.is_finite() {
                return Err(TrainerError::NotFinite { what: "the loss", step, value: loss });
            }
            match &mut trainable {
                Some(trainable) => trainable.step(&mut optimizer, &mut weights, &gradient)?,
                None => optimizer.step(&mut weights[..trained], &mut gradient)?,
            }
            loss_sum += loss;
            tokens += batch.targets.len() as u64;
        }
        let delta = weights.iter().zip(start).map(|(end, start)| end - start).collect();
        let loss = loss_sum / tokens as f64;
        Ok(Trained { delta: AdapterDelta(delta), loss, steps, tokens })
    }

    /// The loss of adapter values over sequences, `batch` at a time, shortest first. The order of the sequences changes
    /// the sum by rounding alone.
    ///
    /// # Errors
    /// [`TrainerError::NotFinite`] where a loss is no number (a NaN names the batch as its step), else as
    /// [`Self::train`].
    pub fn evaluate(
        &self,
        weights: &[f32],
        sequences: &[Sequence],
        batch: usize,
        cancel: &AtomicBool,
    ) -> Result<Evaluated, TrainerError> {
        let mut sequences = self.limits().with_targets(sequences)?;
        sequences.sort_by_key(|sequence| sequence.tokens.len());
        let adapted = self.adapter_tensors(weights)?;
        let mut evaluated = Evaluated::default();
        for (step, sequences) in sequences.chunks(batch.max(1)).enumerate() {
            if cancel.load(Ordering::Relaxed) {
                return Err(TrainerError::Cancelled { step: step as u32 });
            }
            let batch = self.batch(sequences);
            let (loss_sum, correct) = self.model.transformer.loss(&batch, &adapted)?;
            if !loss_sum.is_finite() {
                let step = step as u32;
                return Err(TrainerError::NotFinite { what: "the evaluation loss", step, value: loss_sum });
            }
            evaluated.add(Evaluated { loss_sum, tokens: batch.targets.len() as u64, correct });
        }
        Ok(evaluated)
    }

    /// The logits of every position of one sequence, `tokens.len() * vocabulary` values; `None` is the base model alone.
    /// Needs a language head.
    ///
    /// # Errors
    /// [`TrainerError`] where the sequence or the values do not fit the model.
    pub fn logits(&self, weights: Option<&[f32]>, tokens: &[u32]) -> Result<Vec<f32>, TrainerError> {
        self.limits().check_tokens(tokens)?;
        let logits = self.model.transformer.logits(&Batch::of_tokens(tokens), &self.adapter_or_base(weights)?);
        values(logits)
    }

    /// The logits of each prediction that a sequence asks for: `predictions * (vocabulary or classes)` values; `None`
    /// is the base model alone, with the head of the start.
    ///
    /// # Errors
    /// As [`Self::logits`], and where the sequence has no target.
    pub fn predictions(&self, weights: Option<&[f32]>, sequence: &Sequence) -> Result<Vec<f32>, TrainerError> {
        let sequences = self.limits().with_targets(std::slice::from_ref(sequence))?;
        let logits = self.model.transformer.logits(&self.batch(&sequences), &self.adapter_or_base(weights)?);
        values(logits)
    }

    fn adapter_tensors(&self, weights: &[f32]) -> Result<AdapterTensors, TrainerError> {
        let (transformer, weights) = (&self.model.transformer, self.check_values(weights)?);
        Ok(transformer.adapter_tensors(&self.plan, &transformer.with_residuals(&self.plan, weights), weights))
    }

    pub(super) fn adapter_or_base(&self, weights: Option<&[f32]>) -> Result<AdapterTensors, TrainerError> {
        let transformer = &self.model.transformer;
        match weights {
            Some(weights) => self.adapter_tensors(weights),
            None => Ok(transformer.without_pairs(self.plan.head.head(&self.start.0, &transformer.place))),
        }
    }

    fn batch(&self, sequences: &[&Sequence]) -> Batch {
        match self.model.preprocessor() {
            Some(preprocessor) => Batch::of_pictures(sequences, preprocessor),
            None => {
                let transformer = &self.model.transformer;
                Batch::new(sequences, !transformer.place.host, transformer.spec.class_position)
            }
        }
    }

    pub(super) fn limits(&self) -> Limits<'_> {
        let spec = &self.model.transformer.spec;
        Limits {
            positions: spec.positions,
            embeddings: spec.vocabulary,
            classes: self.classes(),
            pictures: self.model.preprocessor(),
        }
    }

    fn check_values<'a>(&self, values: &'a [f32]) -> Result<&'a [f32], TrainerError> {
        match values.len() == self.layout.values() {
            true => Ok(values),
            false => Err(TrainerError::Values { expected: self.layout.values(), found: values.len() }),
        }
    }
}

fn check(local: &LocalConfig) -> Result<(), TrainerError> {
    let setting = |fine: bool, key, found: String, expected| match fine {
        true => Ok(()),
        false => Err(TrainerError::Setting { key, found, expected }),
    };
    setting(local.batch > 0, "client.batch", local.batch.to_string(), "at least 1")?;
    setting(local.steps > 0 || local.epochs > 0, "client.epochs", "0".into(), "at least 1 where client.steps is 0")?;
    setting(local.lr.is_finite() && local.lr >= 0.0, "client.lr", local.lr.to_string(), "a finite number from 0 up")
}
