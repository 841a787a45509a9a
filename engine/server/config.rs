//! Section `server`.

use serde::{Deserialize, Serialize};

/// The rule that moves the server's dense copy by the aggregated delta.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerKind {
    /// `W += lr * G` (McMahan et al. 2017).
    FedAvg,
    /// FedAvg with server momentum (Hsu et al. 2019).
    FedAvgM,
    /// Adam on `-G` as the pseudo-gradient (Reddi et al. 2021).
    FedAdam,
    /// Yogi on `-G` as the pseudo-gradient (Reddi et al. 2021).
    FedYogi,
    /// Adagrad on `-G` as the pseudo-gradient (Reddi et al. 2021).
    FedAdagrad,
}

/// How the server runs its rounds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Clients a round, sampled uniformly without replacement.
    pub cohort: usize,
    /// Server optimizer: fedavg, fedavgm, fedadam, fedyogi or fedadagrad.
    pub optimizer: OptimizerKind,
    /// Server learning rate; with fedavg, 1 takes the mean update as it is.
    pub lr: f32,
    /// Momentum of fedavgm (it also makes up for what sparse uploads leave out), beta1 of fedadam, fedyogi and
    /// fedadagrad.
    pub momentum: f32,
    /// Beta2 of fedadam and fedyogi.
    pub beta2: f32,
    /// Added to the root of the second moment in fedadam, fedyogi and fedadagrad.
    pub tau: f32,
    /// Decay of the running mean, over rounds, of what clients would see (Polyak and Juditsky 1992): the mean is what is
    /// evaluated and what the run's adapter holds; clients train from the last round. In [0, 1); 0 takes the last round alone.
    pub ema_decay: f32,
    /// Seconds after which a client that has not answered counts as dropped; 0 waits for ever.
    pub deadline_s: f64,
    /// Share of the cohort that must complete for a round to count, in (0, 1].
    pub quorum: f32,
    /// Clients sampled beyond the cohort, as a share of it: stand-ins for those that drop.
    pub over_selection: f32,
    /// Evaluate every so many rounds, and before the first and after the last; 0 never.
    pub eval_every: u32,
    /// Reject an update whose L2 norm is above this; 0 accepts any finite one.
    pub max_update_norm: f32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            cohort: 8,
            optimizer: OptimizerKind::FedAvgM,
            lr: 1.0,
            momentum: 0.5,
            beta2: 0.99,
            tau: 1e-3,
            ema_decay: 0.0,
            deadline_s: 0.0,
            quorum: 0.5,
            over_selection: 0.0,
            eval_every: 5,
            max_update_norm: 0.0,
        }
    }
}
