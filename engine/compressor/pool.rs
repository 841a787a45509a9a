//! The compressor pool: workers that each hold one codec a direction. What a hook may write to comes in as a memory and
//! goes back with the reply, so that a call that is tried again starts from the same.

use std::sync::Arc;

use ractor::ActorCell;

use super::worker::{Broadcast, CatchUp, Compressor, Shared, Upload};
use super::{CompressorError, Occasion, Plans, Reference, Tracker};
use crate::metrics::Metrics;
use crate::policy::Memory;
use crate::pool::{OwnTime, Pool, PoolError, Work};
use crate::wire::Frame;

/// A reply that crosses the pool: the policy's answer, or why the pool has none.
type Answer<T> = Result<Result<T, CompressorError>, PoolError>;

/// A worker's job; it ends with the reply port.
type Job = Box<dyn FnOnce(&mut Compressor) + Send>;

impl Work for Compressor {
    type Job = Job;

    fn run(&mut self, job: Job) {
        job(self);
    }
}

/// The handle to the compressor pool; clones share the workers.
#[derive(Clone)]
pub struct Compressors {
    pool: Pool<Job>,
    plans: Plans,
}

impl Compressors {
    /// Starts `size` compressors under a supervisor, with a name for ractor's registry.
    ///
    /// # Errors
    /// The reason for which ractor could not start the pool.
    pub async fn spawn(
        plans: Plans,
        size: usize,
        metrics: Arc<Metrics>,
        place: (String, ActorCell),
        on_restart: Arc<dyn Fn() + Send + Sync>,
    ) -> Result<Self, ractor::SpawnErr> {
        let (shared, of_worker) = (Shared::default(), plans.clone());
        let make = move || Compressor::new(&of_worker, &metrics, shared.clone());
        Ok(Self { pool: Pool::spawn("compressor", place, size, make, on_restart).await?, plans })
    }

    /// The same workers; what is asked through this handle runs on a client's clock.
    pub fn timed(&self, clock: &Arc<OwnTime>) -> Self {
        Self { pool: self.pool.timed(clock), plans: self.plans.clone() }
    }

    /// The plans of both directions.
    pub fn plans(&self) -> &Plans {
        &self.plans
    }

    /// At the server: encodes a tier's download and decodes it as a client would. With a tracker, what is encoded is the
    /// difference to its reference, and the reference after it is what a client has.
    ///
    /// # Errors
    /// The policy's error, or [`PoolError`].
    pub async fn broadcast(
        &self,
        occasion: Occasion,
        weights: Arc<Vec<f32>>,
        tracker: Option<Tracker>,
        memory: Memory,
    ) -> Answer<Broadcast> {
        self.run(move |worker| worker.broadcast(&occasion, weights.clone(), tracker.as_ref(), memory.clone())).await
    }

    /// At the server: a snapshot of a reference for those who missed too much, for the broadcast of the occasion's round.
    ///
    /// # Errors
    /// The error of [`Codec::snapshot`](super::Codec::snapshot), or [`PoolError`].
    pub async fn snapshot(&self, occasion: Occasion, reference: Reference) -> Answer<Frame> {
        self.run(move |worker| worker.snapshot(&occasion, &reference)).await
    }

    /// At the server: what the policy sends one client that missed rounds, if anything, and the server's memory after it.
    ///
    /// # Errors
    /// The policy's error, or [`PoolError`].
    pub async fn encode_catch_up(&self, occasion: Occasion, memory: Memory) -> Answer<CatchUp> {
        self.run(move |worker| worker.encode_catch_up(&occasion, memory.clone())).await
    }

    /// At a client: takes in what [`encode_catch_up`](Self::encode_catch_up) made; the client's memory after it.
    ///
    /// # Errors
    /// The policy's error, or [`PoolError`].
    pub async fn decode_catch_up(&self, occasion: Occasion, frame: Frame, memory: Memory) -> Answer<Memory> {
        self.run(move |worker| worker.decode_catch_up(&occasion, &frame, memory.clone())).await
    }

    /// At a client: what it starts from, and its memory after decoding.
    ///
    /// # Errors
    /// The policy's error, or [`PoolError`].
    pub async fn receive(&self, broadcast: Occasion, frame: Frame, memory: Memory) -> Answer<(Arc<Vec<f32>>, Memory)> {
        self.run(move |worker| worker.receive(&broadcast, &frame, memory.clone())).await
    }

    /// At a client in a process of its own, of a tracked download: its reference after the frames that bring it up to date and the
    /// broadcast, which [`receive`](Self::receive) then knows.
    ///
    /// # Errors
    /// Frames that do not follow on what the client has, the policy's error, or [`PoolError`].
    pub async fn follow(
        &self,
        broadcast: Occasion,
        reference: Reference,
        catch_up: Vec<Frame>,
        frame: Frame,
    ) -> Answer<Reference> {
        self.run(move |worker| worker.follow(&broadcast, reference.clone(), &catch_up, &frame)).await
    }

    /// At a client: which coordinates it may train (none: all), and its memory after that.
    ///
    /// # Errors
    /// The policy's error, or [`PoolError`].
    pub async fn plan_training(
        &self,
        occasion: Occasion,
        received: Arc<Vec<f32>>,
        memory: Memory,
    ) -> Answer<(Option<Vec<u32>>, Memory)> {
        self.run(move |worker| worker.plan_training(&occasion, received.clone(), memory.clone())).await
    }

    /// At a client: encodes its update, with what earlier messages left out where the run says so.
    ///
    /// # Errors
    /// The policy's error, or [`PoolError`].
    pub async fn upload(
        &self,
        occasion: Occasion,
        update: Arc<Vec<f32>>,
        residual: Option<Arc<Vec<f32>>>,
        memory: Memory,
    ) -> Answer<Upload> {
        self.run(move |worker| worker.upload(&occasion, &update, residual.as_deref(), memory.clone())).await
    }

    /// At a client: hears how its upload ended; its memory after that.
    ///
    /// # Errors
    /// The policy's error, or [`PoolError`].
    pub async fn acknowledge(&self, occasion: Occasion, accepted: bool, memory: Memory) -> Answer<Memory> {
        self.run(move |worker| worker.acknowledge(&occasion, accepted, memory.clone())).await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl Fn(&mut Compressor) -> Result<T, CompressorError> + Send + Sync + 'static,
    ) -> Answer<T> {
        let work = Arc::new(work);
        self.pool
            .call(|reply| {
                let work = work.clone();
                // A caller that has gone does not need the reply.
                Box::new(move |worker: &mut Compressor| drop(reply.send(work(worker)))) as Job
            })
            .await
    }

    /// Jobs that wait for a free worker.
    pub async fn waiting(&self) -> i64 {
        self.pool.waiting().await
    }

    /// The pool's supervisor; its children are the compressors.
    pub fn actor(&self) -> ActorCell {
        self.pool.actor().get_cell()
    }
}
