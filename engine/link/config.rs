//! Section `link`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The way between the server and the clients of a deployed federation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The federation's folder at the coordinator, as `cellm enroll init` makes it.
    pub enrolment: Option<PathBuf>,
    /// Host and port where the server's own broker listens. Left out, those that clients dial as `cellm enroll init` was told.
    pub listen: Option<String>,
    /// Host and port of a NATS server to use. Left out, the server starts one, and clients dial what their credentials say.
    pub url: Option<String>,
    /// Clients that must be there before the first round; 0 is as many as a round asks.
    pub min_clients: usize,
    /// Seconds without a sign of life after which a client is given up for the round.
    pub silence_s: f64,
    /// Seconds without a byte after which a transfer is given up.
    pub stall_s: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self { enrolment: None, listen: None, url: None, min_clients: 0, silence_s: 5.0, stall_s: 60.0 }
    }
}
