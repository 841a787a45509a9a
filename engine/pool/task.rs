//! Threads and tasks whose end somebody sees: work in; its result, or why it has none, out.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::task::{JoinError, JoinHandle};

/// The panic of a task or of blocking work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} panicked: {reason}")]
pub struct Crash {
    /// The work.
    pub what: &'static str,
    /// The panic's message.
    pub reason: String,
}

/// Runs work on a blocking thread.
///
/// # Errors
/// [`Crash`] with the panic's words.
pub async fn blocking<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Crash> {
    // The panic is caught on its thread: what is dropped while it unwinds is gone before anybody hears of it.
    let work = move || catch_unwind(AssertUnwindSafe(work)).map_err(|panic| words(panic.as_ref()));
    #[expect(clippy::disallowed_methods, reason = "the one place where blocking work starts; its end is awaited")]
    let ended = tokio::task::spawn_blocking(work).await;
    match ended {
        Ok(done) => done.map_err(|reason| Crash { what, reason }),
        Err(error) => Err(crash(what, error)),
    }
}

/// Runs work beside its owner, who hears of a panic: a supervisor is told, and acts.
pub fn watched(
    what: &'static str,
    work: impl Future<Output = ()> + Send + 'static,
    on_crash: impl FnOnce(Crash) + Send + 'static,
) {
    let task = Task::start(what, work);
    let watch = async move {
        if let Err(crash) = task.ended().await {
            on_crash(crash);
        }
    };
    #[expect(clippy::disallowed_methods, reason = "it hands the word of another's end on and does nothing else")]
    drop(tokio::spawn(watch));
}

/// A task that its owner awaits; one that nobody awaits any more is aborted.
#[derive(Debug)]
#[must_use = "a task ends when it is dropped"]
pub struct Task<T> {
    what: &'static str,
    handle: JoinHandle<T>,
}

impl<T: Send + 'static> Task<T> {
    /// Starts it.
    pub fn start(what: &'static str, work: impl Future<Output = T> + Send + 'static) -> Self {
        #[expect(clippy::disallowed_methods, reason = "the one place where tasks start; its owner awaits the handle")]
        let handle = tokio::spawn(work);
        Self { what, handle }
    }

    /// Its result.
    ///
    /// # Errors
    /// [`Crash`] with the panic's words.
    pub async fn ended(mut self) -> Result<T, Crash> {
        (&mut self.handle).await.map_err(|error| crash(self.what, error))
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        // Does nothing to one that has ended.
        self.handle.abort();
    }
}

fn crash(what: &'static str, error: JoinError) -> Crash {
    let reason = match error.try_into_panic() {
        Ok(panic) => words(panic.as_ref()),
        Err(error) => error.to_string(),
    };
    Crash { what, reason }
}

/// The message of a panic; a note where it has none.
pub(super) fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("it gave no reason").to_owned()
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_panic_on_a_blocking_thread_or_in_a_task_comes_back_with_its_words() {
        assert_eq!(blocking("sum", || 2 + 2).await, Ok(4));
        let crash = blocking("sum", || panic!("of {}", 5)).await.map(|(): ()| ()).unwrap_err();
        assert_eq!(crash.to_string(), "sum panicked: of 5");
        assert_eq!(Task::start("sum", async { 3 }).ended().await, Ok(3));
        let crash = Task::start("sum", async { panic!("plainly") }).ended().await.map(|(): ()| ()).unwrap_err();
        assert_eq!(crash.to_string(), "sum panicked: plainly");
    }

    #[tokio::test]
    async fn the_owner_of_watched_work_hears_of_its_panic_and_of_nothing_else() {
        let (tell, told) = oneshot::channel();
        watched("work", async { panic!("on purpose") }, |crash| drop(tell.send(crash.reason)));
        assert_eq!(told.await.unwrap(), "on purpose");
        let (tell, told) = oneshot::channel::<String>();
        watched("work", async {}, |crash| drop(tell.send(crash.reason)));
        assert!(told.await.is_err());
    }

    #[tokio::test]
    async fn a_task_that_nobody_awaits_ends() {
        let (held, dropped) = oneshot::channel::<()>();
        let task = Task::start("sleeper", async {
            let _held = held;
            std::future::pending::<()>().await;
        });
        drop(task);
        assert!(dropped.await.is_err());
    }
}
