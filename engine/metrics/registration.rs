//! Makes metric families in a registry. The names are this room's own and a test registers all of them, so a name that is
//! malformed or taken twice is a defect of the program, not a condition to handle.

use prometheus::core::Collector;
use prometheus::{
    CounterVec, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
};
use prometheus::{IntGaugeVec, Opts, Registry};

const OWN_NAMES: &str = "metric names are valid and each is made once";

fn register<T: Collector + Clone + 'static>(registry: &Registry, made: prometheus::Result<T>) -> T {
    let metric = made.expect(OWN_NAMES);
    registry.register(Box::new(metric.clone())).expect(OWN_NAMES);
    metric
}

pub(super) fn counter(registry: &Registry, name: &str, help: &str) -> IntCounter {
    register(registry, IntCounter::new(name, help))
}

pub(super) fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    register(registry, IntCounterVec::new(Opts::new(name, help), labels))
}

/// Counters of seconds.
pub(super) fn seconds(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> CounterVec {
    register(registry, CounterVec::new(Opts::new(name, help), labels))
}

pub(super) fn gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    register(registry, IntGauge::new(name, help))
}

pub(super) fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    register(registry, IntGaugeVec::new(Opts::new(name, help), labels))
}

/// A gauge that is not a number until it is first set: a loss that was never measured is not 0.
pub(super) fn float_gauge(registry: &Registry, name: &str, help: &str) -> Gauge {
    let gauge = register(registry, Gauge::new(name, help));
    gauge.set(f64::NAN);
    gauge
}

/// A gauge that is always 1 and says something by its labels.
pub(super) fn info(registry: &Registry, name: &str, help: &str, labels: &[(&str, &str)]) {
    let (names, values): (Vec<_>, Vec<_>) = labels.iter().copied().unzip();
    register(registry, GaugeVec::new(Opts::new(name, help), &names)).with_label_values(&values).set(1.0);
}

/// `count` buckets, the first up to `start`, each `factor` wider than the one before.
#[derive(Clone, Copy)]
pub(super) struct Buckets {
    pub(super) start: f64,
    pub(super) factor: f64,
    pub(super) count: usize,
}

/// 50 ms to 27 minutes.
pub(super) const ROUND_SECONDS: Buckets = Buckets { start: 0.05, factor: 2.0, count: 16 };
/// 1 ms to 17 minutes.
pub(super) const WORK_SECONDS: Buckets = Buckets { start: 0.001, factor: 4.0, count: 11 };
/// 10 microseconds to 2.6 s.
pub(super) const CALL_SECONDS: Buckets = Buckets { start: 1e-5, factor: 4.0, count: 10 };

impl Buckets {
    fn bounds(self) -> Vec<f64> {
        // Rounded to four digits, so that a bucket's label reads 0.00016 and not 0.00016000000000000001.
        let rounded = |bound: f64| format!("{bound:.3e}").parse().unwrap_or(bound);
        (0..self.count).map(|number| rounded(self.start * self.factor.powi(number as i32))).collect()
    }
}

pub(super) fn histogram(registry: &Registry, name: &str, help: &str, buckets: Buckets) -> Histogram {
    register(registry, Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.bounds())))
}

pub(super) fn histograms(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
    buckets: Buckets,
) -> HistogramVec {
    register(registry, HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.bounds()), labels))
}
