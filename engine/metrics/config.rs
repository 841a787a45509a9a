//! Section `metrics`.

use serde::{Deserialize, Serialize};

/// The Prometheus endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address or name, and port, to serve `/metrics` and `/healthz` on, such as "127.0.0.1:9464" or "localhost:9464" (port 0
    /// takes a free one); off where not set.
    pub listen: Option<String>,
}
