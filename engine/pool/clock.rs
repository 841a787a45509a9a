//! The time of a client's own jobs: what waits for a free worker does not count. Jobs in, seconds out.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The least that a look at the clock waits for the next.
const GRAIN: Duration = Duration::from_millis(1);

/// A stopwatch that runs while a job does. The jobs of one owner come one after the other, but a job's result may be out, and the next
/// begun, a moment before it is over.
#[derive(Debug, Default)]
pub struct OwnTime(Mutex<Times>);

#[derive(Debug, Default)]
struct Times {
    done: Duration,
    /// Jobs under way.
    jobs: u32,
    /// The start of the first of them.
    running: Option<Instant>,
}

impl OwnTime {
    /// Runs a job on the clock; one that panics stops it too.
    pub fn measure<T>(&self, job: impl FnOnce() -> T) -> T {
        let _running = Running::start(self);
        job()
    }

    /// The time of all jobs so far, of the one under way too.
    pub fn spent(&self) -> Duration {
        let times = self.times();
        times.done + times.running.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Returns once the jobs have taken `limit` together.
    pub async fn reaches(&self, limit: Duration) {
        loop {
            let left = limit.saturating_sub(self.spent());
            if left.is_zero() {
                return;
            }
            // Not before that much has passed, and later where jobs wait in between.
            tokio::time::sleep(left.max(GRAIN)).await;
        }
    }

    fn times(&self) -> MutexGuard<'_, Times> {
        // Nothing panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A job under way.
struct Running<'a>(&'a OwnTime);

impl<'a> Running<'a> {
    fn start(clock: &'a OwnTime) -> Self {
        let mut times = clock.times();
        times.jobs += 1;
        times.running.get_or_insert_with(Instant::now);
        drop(times);
        Self(clock)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut times = self.0.times();
        times.jobs -= 1;
        let since = if times.jobs == 0 { times.running.take() } else { None };
        times.done += since.map_or(Duration::ZERO, |since| since.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::thread::sleep;

    use super::*;

    #[test]
    fn a_job_that_begins_before_the_last_one_is_over_loses_no_time() {
        let clock = OwnTime::default();
        let long = Running::start(&clock);
        sleep(Duration::from_millis(20));
        let next = Running::start(&clock);
        drop(long);
        drop(next);
        assert!(clock.spent() >= Duration::from_millis(20), "{:?}", clock.spent());
    }

    #[test]
    fn time_between_jobs_does_not_count_and_a_panic_stops_the_clock() {
        let clock = OwnTime::default();
        clock.measure(|| sleep(Duration::from_millis(20)));
        let first = clock.spent();
        assert!(first >= Duration::from_millis(20));
        sleep(Duration::from_millis(30));
        assert_eq!(clock.spent(), first);
        catch_unwind(AssertUnwindSafe(|| clock.measure::<()>(|| panic!("on purpose")))).unwrap_err();
        let second = clock.spent();
        sleep(Duration::from_millis(5));
        assert_eq!(clock.spent(), second);
    }

    #[tokio::test]
    async fn a_limit_is_reached_by_own_time_alone() {
        let clock = OwnTime::default();
        let limit = Duration::from_millis(40);
        let waited = tokio::time::timeout(Duration::from_millis(120), clock.reaches(limit)).await;
        assert!(waited.is_err(), "no job ran");
        clock.measure(|| sleep(limit));
        tokio::time::timeout(Duration::from_secs(60), clock.reaches(limit)).await.unwrap();
    }
}
