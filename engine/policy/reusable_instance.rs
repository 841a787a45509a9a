//! A policy instance that is used for several calls, and the maker of the next one: dropped when a call broke it, or
//! after each call where no other message may meet its variables.

use std::time::Instant;

use super::{AggregatorInstance, CompressorInstance, PolicyError};
use crate::metrics::{Hook, PolicyMetrics};

/// An instance that a call can break.
pub trait Breakable {
    /// True where a call broke it.
    fn poisoned(&self) -> bool;
}

impl Breakable for CompressorInstance {
    fn poisoned(&self) -> bool {
        self.poisoned()
    }
}

impl Breakable for AggregatorInstance {
    fn poisoned(&self) -> bool {
        self.poisoned()
    }
}

/// Holds at most one instance, made when it is first needed.
pub struct ReusableInstance<I> {
    make: Box<dyn Fn() -> Result<I, PolicyError> + Send>,
    instance: Option<I>,
    reuse: bool,
    metrics: PolicyMetrics,
}

impl<I: Breakable> ReusableInstance<I> {
    /// `make` gives a fresh instance; calls and traps are counted in `metrics`. Without `reuse` every call gets a fresh one.
    pub fn new(
        metrics: PolicyMetrics,
        reuse: bool,
        make: impl Fn() -> Result<I, PolicyError> + Send + 'static,
    ) -> Self {
        Self { make: Box::new(make), instance: None, reuse, metrics }
    }

    /// Throws the instance away: the next call gets a fresh one.
    pub fn renew(&mut self) {
        self.instance = None;
    }

    /// Makes the instance now, so that what is wrong with it shows.
    ///
    /// # Errors
    /// The error of the policy's `init`.
    pub fn warm_up(&mut self) -> Result<(), PolicyError> {
        if self.instance.is_none() {
            self.instance = Some((self.make)()?);
        }
        Ok(())
    }

    /// Calls the instance of earlier calls, or a fresh one, and times it. A broken instance is thrown away, never used again.
    ///
    /// # Errors
    /// The call's error, or the error of making an instance.
    pub fn call<R>(
        &mut self,
        hook: Hook,
        work: impl FnOnce(&mut I) -> Result<R, PolicyError>,
    ) -> Result<R, PolicyError> {
        let mut instance = match self.instance.take() {
            Some(instance) => instance,
            None => (self.make)()?,
        };
        let started = Instant::now();
        let result = work(&mut instance);
        self.metrics.call_seconds(hook).observe(started.elapsed().as_secs_f64());
        if instance.poisoned() {
            self.metrics.traps.inc();
        } else if self.reuse {
            self.instance = Some(instance);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::metrics::Metrics;

    struct Fragile(bool);

    impl Breakable for Fragile {
        fn poisoned(&self) -> bool {
            self.0
        }
    }

    #[test]
    fn an_instance_is_used_until_it_breaks() {
        let made = Arc::new(AtomicU32::new(0));
        let counter = made.clone();
        let metrics = Metrics::new();
        let mut instance = ReusableInstance::new(metrics.policy("fragile"), true, move || {
            counter.fetch_add(1, Ordering::Relaxed);
            Ok(Fragile(false))
        });
        instance.warm_up().unwrap();
        let refused = PolicyError::Poisoned { policy: "fragile".into(), hook: "encode" };
        instance.call(Hook::Encode, |_| Err::<(), _>(refused)).unwrap_err();
        instance.call(Hook::Encode, |_| Ok(())).unwrap();
        assert_eq!(made.load(Ordering::Relaxed), 1, "an error that breaks nothing costs no instance");
        instance
            .call(Hook::Decode, |fragile| {
                fragile.0 = true;
                Ok(())
            })
            .unwrap();
        assert!(!instance.call(Hook::Decode, |fragile| Ok(fragile.0)).unwrap());
        assert_eq!((made.load(Ordering::Relaxed), metrics.policy("fragile").traps.get()), (2, 1));
    }

    #[test]
    fn without_reuse_no_call_meets_what_another_left() {
        let mut instance = ReusableInstance::new(Metrics::new().policy("marked"), false, || Ok(Fragile(false)));
        instance.warm_up().unwrap();
        for _ in 0..2 {
            let marked = instance.call(Hook::Encode, |fragile| Ok(std::mem::replace(&mut fragile.0, true))).unwrap();
            assert!(!marked);
        }
    }
}
