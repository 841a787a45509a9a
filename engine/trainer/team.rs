//! Threads that compute the parts of one product side by side, for work that has no other way to use them: a text is
//! generated token by token. Results do not depend on their number, as each part is computed alone.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, OnceLock};
use std::thread::Scope;

/// Looks for new work before a thread sleeps: some 0.1 ms, longer than from one product of a token to the next.
const LOOKS: usize = 2000;

type Job = Box<dyn FnOnce() + Send>;

/// The caller's thread and others, which end with the team.
pub(super) struct Team {
    others: Vec<Sender<Job>>,
}

/// Parts of some work, taken by whoever is free.
struct Shared<R, W> {
    work: W,
    next: AtomicUsize,
    /// A result a part; none where its computation panicked.
    results: Vec<OnceLock<Option<R>>>,
    ended: AtomicUsize,
}

impl Team {
    /// Starts `threads - 1` threads.
    pub fn start<'scope>(scope: &'scope Scope<'scope, '_>, threads: usize) -> Self {
        let start = |_| {
            let (sender, receiver) = channel::<Job>();
            scope.spawn(move || while_there_is_work(&receiver));
            sender
        };
        Self { others: (1..threads).map(start).collect() }
    }

    /// The results of parts `0..parts`, in this order.
    ///
    /// # Panics
    /// The caller's thread, if the work of a part panics.
    pub fn results<R, W>(&self, parts: usize, work: W) -> Vec<R>
    where
        R: Clone + Send + Sync + 'static,
        W: Fn(usize) -> R + Send + Sync + 'static,
    {
        if self.others.is_empty() || parts < 2 {
            return (0..parts).map(work).collect();
        }
        let results = (0..parts).map(|_| OnceLock::new()).collect();
        let shared = Arc::new(Shared { work, next: AtomicUsize::new(0), results, ended: AtomicUsize::new(0) });
        for other in &self.others {
            let shared = shared.clone();
            // One that has ended is missed by nobody: the parts are taken by the others.
            drop(other.send(Box::new(move || shared.take_parts())));
        }
        shared.take_parts();
        while shared.ended.load(Ordering::Acquire) < parts {
            std::hint::spin_loop();
        }
        let result = |result: &OnceLock<Option<R>>| result.get().cloned().flatten();
        let results: Option<Vec<R>> = shared.results.iter().map(result).collect();
        results.unwrap_or_else(|| panic!("a part of a product could not be computed"))
    }
}

impl<R, W: Fn(usize) -> R> Shared<R, W> {
    fn take_parts(&self) {
        loop {
            let part = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(place) = self.results.get(part) else { return };
            let result = catch_unwind(AssertUnwindSafe(|| (self.work)(part))).ok();
            // Each part is taken once.
            drop(place.set(result));
            self.ended.fetch_add(1, Ordering::Release);
        }
    }
}

fn while_there_is_work(receiver: &Receiver<Job>) {
    while let Some(job) = next_job(receiver) {
        job();
    }
}

/// The next job; none once the team is gone. Waking a sleeping thread takes as long as a product, so it looks again
/// before it sleeps.
fn next_job(receiver: &Receiver<Job>) -> Option<Job> {
    for _ in 0..LOOKS {
        match receiver.try_recv() {
            Ok(job) => return Some(job),
            Err(TryRecvError::Disconnected) => return None,
            Err(TryRecvError::Empty) => std::hint::spin_loop(),
        }
    }
    receiver.recv().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_team<R>(threads: usize, work: impl FnOnce(&Team) -> R) -> R {
        std::thread::scope(|scope| work(&Team::start(scope, threads)))
    }

    #[test]
    fn results_come_in_the_order_of_the_parts_whoever_computed_them() {
        for threads in 1..5 {
            with_team(threads, |team| {
                for parts in [0, 1, 2, 7, 100] {
                    assert_eq!(
                        team.results(parts, |part| part * part),
                        (0..parts).map(|part| part * part).collect::<Vec<_>>()
                    );
                }
            });
        }
    }

    #[test]
    #[should_panic(expected = "a part of a product could not be computed")]
    fn a_part_that_panics_ends_the_caller_and_not_in_a_wait() {
        with_team(2, |team| team.results(8, |part| assert!(part != 5)));
    }
}
