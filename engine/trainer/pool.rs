//! The trainer pool: one worker a device slot. In: training and evaluation tasks. Out: deltas and losses.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use ractor::{ActorCell, RpcReplyPort};

use crate::adapter::AdapterLayout;
use crate::data::{self, Dataset, Partition, Sequence};
use crate::pool::{Pool, PoolError, Work};

use super::{Evaluated, LocalConfig, TrainKey, Trained, Trainer, TrainerError, TrainerKind, noop_train};

/// Every client's text, tokenized when it is first needed.
pub struct Shards {
    trainer: Arc<Trainer>,
    dataset: Arc<Dataset>,
    partition: Arc<Partition>,
    config: data::Config,
    train: Vec<OnceLock<Arc<Vec<Sequence>>>>,
    validation: OnceLock<Arc<Vec<Sequence>>>,
}

impl Shards {
    /// Shards over `partition`; nothing is tokenized yet.
    pub fn new(trainer: Arc<Trainer>, dataset: Arc<Dataset>, partition: Arc<Partition>, config: data::Config) -> Self {
        let train = partition.shards.iter().map(|_| OnceLock::new()).collect();
        Self { trainer, dataset, partition, config, train, validation: OnceLock::new() }
    }

    /// Clients in the roster.
    pub fn clients(&self) -> usize {
        self.partition.shards.len()
    }

    /// A client's name.
    pub fn name(&self, client: u32) -> &str {
        &self.partition.shards[client as usize].name
    }

    /// Training records that a client has.
    pub fn examples(&self, client: u32) -> u64 {
        self.partition.shards[client as usize].train.len() as u64
    }

    /// A client's training sequences.
    ///
    /// # Errors
    /// What the tokenizer says.
    pub fn train(&self, client: u32) -> Result<Arc<Vec<Sequence>>, TrainerError> {
        let shard = &self.partition.shards[client as usize];
        self.cached(&self.train[client as usize], &mut shard.train.iter())
    }

    /// The validation sequences of all clients, in roster order.
    ///
    /// # Errors
    /// What the tokenizer says.
    pub fn validation(&self) -> Result<Arc<Vec<Sequence>>, TrainerError> {
        let mut records = self.partition.shards.iter().flat_map(|shard| &shard.validation);
        self.cached(&self.validation, &mut records)
    }

    fn cached(
        &self,
        cell: &OnceLock<Arc<Vec<Sequence>>>,
        records: &mut dyn Iterator<Item = &u32>,
    ) -> Result<Arc<Vec<Sequence>>, TrainerError> {
        if let Some(sequences) = cell.get() {
            return Ok(sequences.clone());
        }
        let records = records.map(|record| &self.dataset.records[*record as usize]);
        let tokenizer = self.trainer.model().tokenizer();
        let sequences = Arc::new(data::tokenize(tokenizer, records, &self.config)?);
        Ok(cell.get_or_init(|| sequences).clone())
    }
}

/// A task for a trainer.
enum Job {
    Train {
        key: TrainKey,
        start: Arc<Vec<f32>>,
        cancel: Arc<AtomicBool>,
        trainable: Option<Arc<Vec<u32>>>,
        reply: RpcReplyPort<Result<Trained, TrainerError>>,
    },
    Evaluate {
        weights: Arc<Vec<f32>>,
        sequences: Arc<Vec<Sequence>>,
        range: std::ops::Range<usize>,
        cancel: Arc<AtomicBool>,
        reply: RpcReplyPort<Result<Evaluated, TrainerError>>,
    },
}

/// A reply that crosses the pool: the trainer's answer, or why the pool has none.
type Answer<T> = Result<Result<T, TrainerError>, PoolError>;

/// Sequences of one evaluation task. Fixed, so that sums are formed alike whatever the number of workers.
const EVALUATION_CHUNK: usize = 64;

/// Sequences of one evaluation batch.
const EVALUATION_BATCH: usize = 16;

/// The handle to the trainer pool; clones share the workers.
#[derive(Clone)]
pub struct Trainers {
    pool: Pool<Job>,
    shards: Arc<Shards>,
}

impl Trainers {
    /// Starts `size` trainers under a supervisor, with a name for ractor's registry.
    ///
    /// # Errors
    /// The reason for which ractor could not start the pool.
    pub async fn spawn(
        shards: Arc<Shards>,
        local: LocalConfig,
        size: usize,
        place: (String, ActorCell),
        on_restart: Arc<dyn Fn() + Send + Sync>,
    ) -> Result<Self, ractor::SpawnErr> {
        let slot = Slot {
            trainer: shards.trainer.clone(),
            layout: shards.trainer.layout().clone(),
            shards: shards.clone(),
            local: Arc::new(local),
        };
        let make = move || slot.clone();
        Ok(Self { pool: Pool::spawn("trainer", place, size, make, on_restart).await?, shards })
    }

    /// Trains a client from `start` (`P` values); only the coordinates of `trainable` change, or all without it.
    ///
    /// # Errors
    /// What the trainer says, and [`PoolError`].
    pub async fn train(
        &self,
        key: TrainKey,
        start: Arc<Vec<f32>>,
        cancel: Arc<AtomicBool>,
        trainable: Option<Arc<Vec<u32>>>,
    ) -> Answer<Trained> {
        let job = |reply| {
            let (start, cancel, trainable) = (start.clone(), cancel.clone(), trainable.clone());
            Job::Train { key, start, cancel, trainable, reply }
        };
        self.pool.call(job).await
    }

    /// Mean loss of `weights` (`P` values) on the validation data of all clients.
    ///
    /// # Errors
    /// What the trainer says, and [`PoolError`].
    pub async fn evaluate(&self, weights: Arc<Vec<f32>>, cancel: Arc<AtomicBool>) -> Answer<Evaluated> {
        let shards = self.shards.clone();
        let sequences = match tokio::task::spawn_blocking(move || shards.validation()).await {
            Ok(Ok(sequences)) => sequences,
            Ok(Err(error)) => return Ok(Err(error)),
            Err(_) => return Err(PoolError::Crashed { pool: "trainer", attempts: 1 }),
        };
        let mut chunks = Vec::new();
        for first in (0..sequences.len()).step_by(EVALUATION_CHUNK) {
            let range = first..sequences.len().min(first + EVALUATION_CHUNK);
            let (pool, sequences) = (self.pool.clone(), sequences.clone());
            let (weights, cancel) = (weights.clone(), cancel.clone());
            chunks.push(tokio::spawn(async move {
                pool.call(|reply| Job::Evaluate {
                    weights: weights.clone(),
                    sequences: sequences.clone(),
                    range: range.clone(),
                    cancel: cancel.clone(),
                    reply,
                })
                .await
            }));
        }
        let mut total = Evaluated::default();
        for chunk in chunks {
            match chunk.await.unwrap_or(Err(PoolError::Closed { pool: "trainer" }))? {
                Ok(part) => total.add(part),
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(total))
    }

    /// Jobs that wait for a free worker.
    pub async fn waiting(&self) -> i64 {
        self.pool.waiting().await
    }

    /// The pool's supervisor; its children are the trainers.
    pub fn actor(&self) -> ActorCell {
        self.pool.actor().get_cell()
    }
}

/// One worker.
#[derive(Clone)]
struct Slot {
    trainer: Arc<Trainer>,
    layout: Arc<AdapterLayout>,
    shards: Arc<Shards>,
    local: Arc<LocalConfig>,
}

impl Work for Slot {
    type Job = Job;

    fn run(&mut self, job: Job) {
        // A caller that has gone does not need the reply.
        match job {
            Job::Train { key, start, cancel, trainable, reply } => {
                let trainable = trainable.as_ref().map(|at| at.as_slice());
                drop(reply.send(self.train(key, &start, &cancel, trainable)));
            }
            Job::Evaluate { weights, sequences, range, cancel, reply } => {
                let batch = EVALUATION_BATCH;
                drop(reply.send(self.trainer.evaluate(&weights, &sequences[range], batch, &cancel)));
            }
        }
    }
}

impl Slot {
    fn train(
        &self,
        key: TrainKey,
        start: &[f32],
        cancel: &AtomicBool,
        trainable: Option<&[u32]>,
    ) -> Result<Trained, TrainerError> {
        match self.local.trainer {
            TrainerKind::Noop => noop_train(&self.layout, key, trainable),
            TrainerKind::Burn => {
                let shard = self.shards.train(key.client)?;
                self.trainer.train(start, &shard, &self.local, key, cancel, trainable)
            }
        }
    }
}
