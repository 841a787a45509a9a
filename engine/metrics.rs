//! Every Prometheus metric of the product, typed, and the endpoint that serves them.
//!
//! [`Metrics`] is made once and shared behind an `Arc`; a count is one atomic addition. [`MetricsExporter`] serves it.

mod actors;
mod config;
mod connection_limits;
mod cpu;
mod error;
mod exporter;
mod exporter_actor;
pub mod names;
mod policies;
mod registration;
mod registry;
mod wire;

pub use actors::Actor;
pub use config::Config;
pub use cpu::{process_cpu_seconds, thread_cpu_seconds};
pub use error::MetricsError;
pub use exporter::Exporter;
pub use exporter_actor::{MetricsExporter, MetricsExporterArgs, MetricsExporterMsg, MetricsExporterRef};
pub use policies::{Hook, PolicyMetrics};
pub use prometheus::IntCounter;
pub use registry::{Clients, Metrics};
pub use wire::{DirectionMetrics, WireBytes};

/// Brings a counter that is behind up to `total`.
pub fn raise(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}
