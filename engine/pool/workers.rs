//! A supervised pool of workers. Each worker owns a state (a model slot, a policy instance) and runs one job at a
//! time on a thread of its own, so that training and WebAssembly never hold up an async thread.
//!
//! In: jobs that carry their reply port. Out: replies; a worker that panics is replaced and its job tried once more.

use std::marker::PhantomData;
use std::sync::Arc;

use ractor::factory::{
    Factory, FactoryArguments, FactoryMessage, FactoryRef, Job, Worker, WorkerId, queues::DefaultQueue,
    routing::QueuerRouting, worker_builder,
};
use ractor::rpc::CallResult;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::sync::oneshot;

use super::worker_thread::WorkerThread;
use super::{Crash, OwnTime};

/// A worker of a pool. `run` ends with the job's reply port.
pub trait Work: Send + 'static {
    /// One piece of work, reply port included.
    type Job: Send + 'static;

    /// Does the job on the calling thread, which is the worker's own.
    fn run(&mut self, job: Self::Job);
}

/// Times that a job is given to a worker before its crash counts as the job's own fault.
const ATTEMPTS: u32 = 2;

/// The reason why a job has no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// The worker panicked every time.
    #[error("the {pool} worker crashed on this job {attempts} times: {reason}")]
    Crashed {
        /// Name of the pool.
        pool: &'static str,
        /// Times the job was tried.
        attempts: u32,
        /// The last panic's message.
        reason: String,
    },
    /// The caller's own part of it panicked.
    #[error(transparent)]
    Caller(#[from] Crash),
    /// The pool is shut down.
    #[error("the {pool} pool is shut down")]
    Closed {
        /// Name of the pool.
        pool: &'static str,
    },
}

/// A handle to a pool; clones share the workers. `J` is the job's type.
pub struct Pool<J: Send + 'static> {
    name: &'static str,
    factory: FactoryRef<(), QueuedJob<J>>,
    clock: Option<Arc<OwnTime>>,
}

/// A job on its way to a worker.
pub struct QueuedJob<J> {
    job: J,
    clock: Option<Arc<OwnTime>>,
    /// Told what a panic said; dropped where there was none.
    crashed: oneshot::Sender<String>,
}

impl<J: Send + 'static> Clone for Pool<J> {
    fn clone(&self) -> Self {
        Self { name: self.name, factory: self.factory.clone(), clock: self.clock.clone() }
    }
}

impl<J: Send + 'static> Pool<J> {
    /// Starts `size` workers under `supervisor`, each around what `make` returns. The pool's actor is known to ractor's
    /// registry as `registered`.
    ///
    /// `on_restart` is called with each replacement of a crashed worker.
    ///
    /// # Errors
    /// The reason for which ractor could not start the pool.
    pub async fn spawn<W: Work<Job = J>>(
        name: &'static str,
        (registered, supervisor): (String, ActorCell),
        size: usize,
        mut make: impl FnMut() -> W + Send + Sync + 'static,
        on_restart: Arc<dyn Fn() + Send + Sync>,
    ) -> Result<Self, ractor::SpawnErr> {
        let mut built = 0;
        let builder = worker_builder(move |_worker: WorkerId| {
            built += 1;
            if built > size {
                on_restart();
            }
            (Slot::<W> { pool: name, work: PhantomData }, make())
        });
        let arguments = FactoryArguments::builder()
            .worker_builder(Box::new(builder))
            .queue(DefaultQueue::default())
            .router(QueuerRouting::default())
            .num_initial_workers(size)
            .build();
        let factory = Factory::<
            (),
            QueuedJob<J>,
            W,
            Slot<W>,
            QueuerRouting<(), QueuedJob<J>>,
            DefaultQueue<(), QueuedJob<J>>,
        >::default();
        let (factory, _) = Actor::spawn_linked(Some(registered), factory, arguments, supervisor).await?;
        Ok(Self { name, factory, clock: None })
    }

    /// The same workers; jobs that are given to this handle run on a clock.
    pub fn timed(&self, clock: &Arc<OwnTime>) -> Self {
        Self { clock: Some(clock.clone()), ..self.clone() }
    }

    /// Gives a job to the next free worker and waits for its reply. `job` is called once for each attempt.
    ///
    /// # Errors
    /// [`PoolError`] when every attempt crashed its worker, or the pool is gone.
    pub async fn call<R: Send + 'static>(&self, job: impl Fn(RpcReplyPort<R>) -> J) -> Result<R, PoolError> {
        let mut reason = String::new();
        for _ in 0..ATTEMPTS {
            let (crashed, words) = oneshot::channel();
            let order = |reply| QueuedJob { job: job(reply), clock: self.clock.clone(), crashed };
            match self.factory.call_job((), order, None).await {
                Ok(CallResult::Success(reply)) => return Ok(reply),
                Ok(CallResult::SenderError | CallResult::Timeout) => {
                    reason = words.await.unwrap_or_else(|_| "it was killed".into());
                }
                Err(_) => return Err(PoolError::Closed { pool: self.name }),
            }
        }
        Err(PoolError::Crashed { pool: self.name, attempts: ATTEMPTS, reason })
    }

    /// Jobs that wait for a free worker.
    pub async fn waiting(&self) -> i64 {
        match self.factory.queue_depth(None).await {
            Ok(CallResult::Success(depth)) => depth as i64,
            _ => 0,
        }
    }

    /// The pool's actor: its children are the workers.
    pub fn actor(&self) -> &ActorRef<FactoryMessage<(), QueuedJob<J>>> {
        &self.factory
    }
}

/// One worker of the pool.
struct Slot<W> {
    pool: &'static str,
    work: PhantomData<fn() -> W>,
}

impl<W: Work> Worker for Slot<W> {
    type Key = ();
    type Message = QueuedJob<W::Job>;
    type Arguments = W;
    /// Its thread, and its work while no job has it.
    type State = (WorkerThread, Option<W>);

    async fn pre_start(
        &self,
        _worker: WorkerId,
        _factory: &FactoryRef<(), QueuedJob<W::Job>>,
        work: W,
    ) -> Result<Self::State, ActorProcessingErr> {
        Ok((WorkerThread::start(self.pool)?, Some(work)))
    }

    async fn handle(
        &self,
        _worker: WorkerId,
        _factory: &FactoryRef<(), QueuedJob<W::Job>>,
        Job { key, msg, .. }: Job<(), QueuedJob<W::Job>>,
        (thread, state): &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let mut work = state.take().ok_or("the worker's state was lost in a crash")?;
        let QueuedJob { job, clock, crashed } = msg;
        let done = thread.run("a worker", move || {
            match clock {
                Some(clock) => clock.measure(|| work.run(job)),
                None => work.run(job),
            }
            work
        });
        // A panic ends this actor; the factory replaces it, and the job's caller sees its reply port dropped.
        match done.await {
            Ok(work) => *state = Some(work),
            Err(crash) => {
                // A caller that has gone does not need to know.
                drop(crashed.send(crash.reason.clone()));
                return Err(crash.into());
            }
        }
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use super::*;

    struct Doubler {
        panics_left: Arc<AtomicU32>,
    }

    impl Work for Doubler {
        type Job = (u32, RpcReplyPort<u32>);

        fn run(&mut self, (number, reply): Self::Job) {
            let left = self.panics_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
            assert!(left.is_err(), "a crash on purpose");
            drop(reply.send(2 * number));
        }
    }

    struct Root;

    impl Actor for Root {
        type Msg = ();
        type State = ();
        type Arguments = ();

        async fn pre_start(&self, _: ActorRef<()>, (): ()) -> Result<(), ActorProcessingErr> {
            Ok(())
        }
    }

    async fn doubler(panics: u32) -> (Pool<(u32, RpcReplyPort<u32>)>, Arc<AtomicU32>) {
        let (root, _) = Actor::spawn(None, Root, ()).await.unwrap();
        let restarts = Arc::new(AtomicU32::new(0));
        let counted = restarts.clone();
        let panics_left = Arc::new(AtomicU32::new(panics));
        let make = move || Doubler { panics_left: panics_left.clone() };
        let on_restart = Arc::new(move || {
            counted.fetch_add(1, Ordering::SeqCst);
        });
        (
            Pool::spawn("doubler", (format!("doubler-{panics}"), root.get_cell()), 2, make, on_restart).await.unwrap(),
            restarts,
        )
    }

    #[tokio::test]
    async fn a_crashed_workers_job_is_done_by_its_replacement() {
        let (pool, restarts) = doubler(1).await;
        assert_eq!(pool.call(|reply| (21, reply)).await, Ok(42));
        assert_eq!(pool.call(|reply| (4, reply)).await, Ok(8));
        // The other worker may have done both before the supervisor heard of the crash.
        let restarted = async {
            while restarts.load(Ordering::SeqCst) == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), restarted).await.unwrap();
        assert_eq!(restarts.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_job_that_always_crashes_is_given_up_and_the_pool_lives() {
        let (pool, _) = doubler(2).await;
        let error = pool.call(|reply| (1, reply)).await.unwrap_err();
        assert_eq!(error.to_string(), "the doubler worker crashed on this job 2 times: a crash on purpose");
        assert_eq!(pool.call(|reply| (1, reply)).await, Ok(2));
    }
}
