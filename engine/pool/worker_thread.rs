//! A thread that one worker has for itself: work in; its result, or why it has none, out. An allocator keeps for a thread
//! what the thread has freed. Work that goes from thread to thread leaves its largest need behind on each of them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread::Builder;

use tokio::sync::oneshot;

use super::Crash;
use super::task::words;

/// The thread; it ends when this is dropped and the work under way is done.
pub(super) struct WorkerThread {
    work: mpsc::Sender<Box<dyn FnOnce() + Send>>,
}

impl WorkerThread {
    /// Starts a thread that the system knows as `name`.
    ///
    /// # Errors
    /// The reason for which the system gave no thread.
    pub fn start(name: &str) -> std::io::Result<Self> {
        let (work, waiting) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
        let run = move || waiting.into_iter().for_each(|work| work());
        #[expect(
            clippy::disallowed_methods,
            reason = "its work catches panics, so that the thread ends with its owner alone"
        )]
        Builder::new().name(name.into()).spawn(run)?;
        Ok(Self { work })
    }

    /// Runs work on the thread, after what it was given before.
    ///
    /// # Errors
    /// [`Crash`] with the panic's words.
    pub async fn run<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Crash> {
        let (tell, told) = oneshot::channel();
        let work = move || {
            let done = catch_unwind(AssertUnwindSafe(work)).map_err(|panic| words(panic.as_ref()));
            // Whoever has gone needs no result.
            drop(tell.send(done));
        };
        let given = self.work.send(Box::new(work)).is_ok();
        match told.await {
            Ok(done) if given => done.map_err(|reason| Crash { what, reason }),
            _ => Err(Crash { what, reason: "its thread has ended".into() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_work_is_done_by_one_thread_that_outlives_its_panics() {
        let thread = WorkerThread::start("test").unwrap();
        let id = || std::thread::current().id();
        let first = thread.run("work", id).await.unwrap();
        let crash = thread.run("work", || panic!("on {}", "purpose")).await.map(|(): ()| ()).unwrap_err();
        assert_eq!(crash.to_string(), "work panicked: on purpose");
        assert_eq!(thread.run("work", id).await.unwrap(), first);
        assert_ne!(first, id());
    }

    #[tokio::test]
    async fn the_thread_ends_with_its_owner() {
        struct Ends(Option<oneshot::Sender<()>>);
        impl Drop for Ends {
            fn drop(&mut self) {
                self.0.take().map(|tell| tell.send(())).unwrap().unwrap();
            }
        }
        thread_local!(static AT_ITS_END: std::cell::RefCell<Option<Ends>> = const { std::cell::RefCell::new(None) });
        let (tell, told) = oneshot::channel();
        let thread = WorkerThread::start("test").unwrap();
        thread.run("work", || AT_ITS_END.with(|end| end.replace(Some(Ends(Some(tell)))))).await.unwrap();
        drop(thread);
        told.await.unwrap();
    }
}
