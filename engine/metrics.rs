//! What an operator watches: every Prometheus metric of the product, typed, and the endpoint that serves them.

mod config;

pub use config::Config;
