//! Section `privacy`.

use serde::{Deserialize, Serialize};

/// The participant that adds the noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// The server, once a round, to the mean: it sees every update and is trusted.
    Server,
    /// Each client, to its own update before it is sent: the server is not trusted.
    Client,
}

/// Differential privacy of clients.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Scale a client's update down to this L2 norm where it is above it, and add noise; 0 is no differential privacy.
    pub clip: f32,
    /// Standard deviation of the noise as a multiple of `clip`; above 0.
    pub noise_multiplier: f32,
    /// The participant that adds the noise: server (to the mean of a round, divided by the clients in it) or client
    /// (to its own update, in full). In a simulation it is drawn from run.seed so that runs repeat, and
    /// hides nothing from whoever knows the seed; deployed, from the client's operating system or a secret of the server's.
    #[serde(rename = "where")]
    pub place: Place,
    /// Probability with which the bound may fail, in (0, 1); below 1 / clients to mean something.
    pub delta: f64,
    /// Epsilon that may be spent: the run ends before the round that would spend more. 0 sets none.
    pub budget: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self { clip: 0.0, noise_multiplier: 1.0, place: Place::Server, delta: 1e-5, budget: 0.0 }
    }
}

impl Config {
    /// True where differential privacy is on.
    pub fn is_on(&self) -> bool {
        self.clip > 0.0
    }

    /// Standard deviation of the noise on one update, before any division.
    pub fn deviation(&self) -> f64 {
        f64::from(self.noise_multiplier) * f64::from(self.clip)
    }
}
