//! The trainer pool: one worker for each device slot. In: training and evaluation jobs. Out: deltas and losses.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use ractor::{ActorCell, RpcReplyPort};

use crate::adapter::AdapterLayout;
use crate::metrics::{Metrics, thread_cpu_seconds};
use crate::pool::{OwnTime, Pool, PoolError, Task, Work};

use super::{
    ClientData, EVALUATION_CHUNK, Evaluated, LearningRates, LocalConfig, TrainKey, Trained, Trainer, TrainerError,
    TrainerKind, noop_train,
};

/// A job of the pool.
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
        chunk: usize,
        cancel: Arc<AtomicBool>,
        reply: RpcReplyPort<Result<Evaluated, TrainerError>>,
    },
}

/// A reply of the pool: the trainer's result, or the pool's error.
type PoolResult<T> = Result<Result<T, TrainerError>, PoolError>;

/// A call for each part of an evaluation that has ended, with the records through so far and all records.
pub type OnEvaluated = Arc<dyn Fn(usize, usize) + Send + Sync>;

/// Sequences of an evaluation batch.
const EVALUATION_BATCH: usize = 16;

/// The handle to the trainer pool; clones share the workers.
#[derive(Clone)]
pub struct Trainers {
    pool: Pool<Job>,
    shards: Arc<ClientData>,
}

impl Trainers {
    /// Starts `size` workers under a supervisor, with a name for ractor's registry. They train at `rates` and count their CPU
    /// time in `metrics`.
    ///
    /// # Errors
    /// The reason for which ractor could not start the pool.
    pub async fn spawn(
        shards: Arc<ClientData>,
        (local, rates): (LocalConfig, Option<LearningRates>),
        (size, metrics): (usize, Arc<Metrics>),
        place: (String, ActorCell),
        on_restart: Arc<dyn Fn() + Send + Sync>,
    ) -> Result<Self, ractor::SpawnErr> {
        let slot = Slot {
            trainer: shards.trainer().clone(),
            layout: shards.trainer().layout().clone(),
            shards: shards.clone(),
            local,
            rates,
            metrics,
        };
        let make = move || slot.clone();
        Ok(Self { pool: Pool::spawn("trainer", place, size, make, on_restart).await?, shards })
    }

    /// The same workers; jobs of this handle run on a client's clock.
    pub fn timed(&self, clock: &Arc<OwnTime>) -> Self {
        Self { pool: self.pool.timed(clock), shards: self.shards.clone() }
    }

    /// Trains a client from `start` (`P` values); only the coordinates of `trainable` change, or all without it.
    ///
    /// # Errors
    /// [`TrainerError`] of the training, and [`PoolError`] where the workers have ended or crashed.
    pub async fn train(
        &self,
        key: TrainKey,
        start: Arc<Vec<f32>>,
        cancel: Arc<AtomicBool>,
        trainable: Option<Arc<Vec<u32>>>,
    ) -> PoolResult<Trained> {
        let job = |reply| {
            let (start, cancel, trainable) = (start.clone(), cancel.clone(), trainable.clone());
            Job::Train { key, start, cancel, trainable, reply }
        };
        self.pool.call(job).await
    }

    /// Mean loss of `weights` (`P` values) on the validation data of all clients, or on the run's sample of it.
    ///
    /// # Errors
    /// [`TrainerError`] of the evaluation, and [`PoolError`] where the workers have ended or crashed.
    pub async fn evaluate(
        &self,
        weights: Arc<Vec<f32>>,
        cancel: Arc<AtomicBool>,
        on_evaluated: &OnEvaluated,
    ) -> PoolResult<Evaluated> {
        let mut chunks = Vec::new();
        for chunk in 0..self.shards.validation_chunks() {
            let (pool, weights, cancel) = (self.pool.clone(), weights.clone(), cancel.clone());
            chunks.push(Task::start("an evaluation", async move {
                pool.call(|reply| Job::Evaluate { weights: weights.clone(), chunk, cancel: cancel.clone(), reply })
                    .await
            }));
        }
        let (mut total, records) = (Evaluated::default(), self.shards.evaluated_records());
        for (number, chunk) in (1..).zip(chunks) {
            match chunk.ended().await?? {
                Ok(part) => total.add(part),
                Err(error) => return Ok(Err(error)),
            }
            on_evaluated(records.min(number * EVALUATION_CHUNK), records);
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
    shards: Arc<ClientData>,
    local: LocalConfig,
    rates: Option<LearningRates>,
    metrics: Arc<Metrics>,
}

impl Work for Slot {
    type Job = Job;

    fn run(&mut self, job: Job) {
        let began = CpuTimer::now();
        // A caller that has ended needs no reply. Metrics are counted before the reply is sent.
        match job {
            Job::Train { key, start, cancel, trainable, reply } => {
                let trainable = trainable.as_ref().map(|at| at.as_slice());
                let trained = self.train(key, &start, &cancel, trainable);
                self.metrics.training_cpu_seconds.inc_by(began.seconds());
                drop(reply.send(trained));
            }
            Job::Evaluate { weights, chunk, cancel, reply } => {
                let evaluated = self.evaluate(&weights, chunk, &cancel);
                self.metrics.evaluation_cpu_seconds.inc_by(began.seconds());
                drop(reply.send(evaluated));
            }
        }
    }
}

/// The start of a job, on the thread's CPU clock where the system has one.
struct CpuTimer {
    wall: Instant,
    cpu_seconds: Option<f64>,
}

impl CpuTimer {
    fn now() -> Self {
        Self { wall: Instant::now(), cpu_seconds: thread_cpu_seconds() }
    }

    /// Seconds since then; never negative.
    fn seconds(&self) -> f64 {
        match (self.cpu_seconds, thread_cpu_seconds()) {
            (Some(began), Some(now)) => (now - began).max(0.0),
            _ => self.wall.elapsed().as_secs_f64(),
        }
    }
}

impl Slot {
    fn evaluate(&self, weights: &[f32], chunk: usize, cancel: &AtomicBool) -> Result<Evaluated, TrainerError> {
        let sequences = self.shards.validation(chunk)?;
        match sequences.is_empty() {
            true => Ok(Evaluated::default()),
            false => self.trainer.evaluate(weights, &sequences, EVALUATION_BATCH, cancel),
        }
    }

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
                let lr = self.rates.map_or(self.local.lr, |rates| rates.of(key.round));
                let local = LocalConfig { lr, ..self.local.clone() };
                self.trainer.train(start, &shard, &local, key, cancel, trainable)
            }
        }
    }
}
