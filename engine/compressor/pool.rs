//! The compressor pool: workers that each hold one codec a direction.

use std::sync::{Arc, Mutex, PoisonError};

use ractor::{ActorCell, RpcReplyPort};

use crate::metrics::Metrics;
use crate::policy::Direction;
use crate::pool::{Pool, PoolError, Work};

use super::{Codec, CodecPlan, CompressorError, Occasion};

/// Both directions of a run.
#[derive(Clone)]
pub struct Plans {
    /// Server to client.
    pub download: Arc<CodecPlan>,
    /// Client to server.
    pub upload: Arc<CodecPlan>,
}

/// A reply that crosses the pool: the policy's answer, or why the pool has none.
type Answer<T> = Result<Result<T, CompressorError>, PoolError>;

/// A job for a compressor.
enum Job {
    Encode {
        direction: Direction,
        occasion: Occasion,
        values: Arc<Vec<f32>>,
        reply: RpcReplyPort<Result<Vec<u8>, CompressorError>>,
    },
    Decode {
        direction: Direction,
        occasion: Occasion,
        frame: Arc<Vec<u8>>,
        reply: RpcReplyPort<Result<Arc<Vec<f32>>, CompressorError>>,
    },
}

/// The handle to the compressor pool; clones share the workers.
#[derive(Clone)]
pub struct Compressors {
    pool: Pool<Job>,
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
        let broadcast = Arc::new(Mutex::new(None));
        let make = move || Compressor {
            download: plans.download.codec(&metrics),
            upload: plans.upload.codec(&metrics),
            broadcast: broadcast.clone(),
        };
        Ok(Self { pool: Pool::spawn("compressor", place, size, make, on_restart).await? })
    }

    /// Encodes `P` values into a frame.
    ///
    /// # Errors
    /// See [`Codec::encode`] and [`PoolError`].
    pub async fn encode(&self, direction: Direction, occasion: Occasion, values: Arc<Vec<f32>>) -> Answer<Vec<u8>> {
        self.pool.call(|reply| Job::Encode { direction, occasion, values: values.clone(), reply }).await
    }

    /// Decodes a frame into `P` values.
    ///
    /// # Errors
    /// See [`Codec::decode`] and [`PoolError`].
    pub async fn decode(&self, direction: Direction, occasion: Occasion, frame: Arc<Vec<u8>>) -> Answer<Arc<Vec<f32>>> {
        self.pool.call(|reply| Job::Decode { direction, occasion, frame: frame.clone(), reply }).await
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

/// The last broadcast that was decoded, with the frame it came from.
type Broadcast = Arc<Mutex<Option<(Arc<Vec<u8>>, Arc<Vec<f32>>)>>>;

/// One worker.
struct Compressor {
    download: Codec,
    upload: Codec,
    /// Simulated clients of one process get the very same broadcast: it is decoded once, not once a client.
    broadcast: Broadcast,
}

impl Work for Compressor {
    type Job = Job;

    fn run(&mut self, job: Job) {
        // A caller that has gone does not need the reply.
        match job {
            Job::Encode { direction, occasion, values, reply } => {
                let frame = self.codec(direction).encode(&occasion, values);
                drop(reply.send(frame));
            }
            Job::Decode { direction, occasion, frame, reply } => {
                drop(reply.send(self.decode(direction, &occasion, frame)));
            }
        }
    }
}

impl Compressor {
    fn codec(&mut self, direction: Direction) -> &mut Codec {
        match direction {
            Direction::Download => &mut self.download,
            Direction::Upload => &mut self.upload,
        }
    }

    fn decode(
        &mut self,
        direction: Direction,
        occasion: &Occasion,
        frame: Arc<Vec<u8>>,
    ) -> Result<Arc<Vec<f32>>, CompressorError> {
        if occasion.client.is_some() {
            return self.codec(direction).decode(occasion, &frame).map(Arc::new);
        }
        let broadcast = self.broadcast.clone();
        let mut last = broadcast.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, values)) = last.as_ref().filter(|(known, _)| Arc::ptr_eq(known, &frame)) {
            return Ok(values.clone());
        }
        let values = Arc::new(self.codec(direction).decode(occasion, &frame)?);
        *last = Some((frame, values.clone()));
        Ok(values)
    }
}
