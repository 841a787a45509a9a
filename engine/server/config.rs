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

/// Section `server`: cohort, server optimizer, quorum, deadline, evaluation.
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
    pub quorum: f64,
    /// Clients sampled beyond the cohort, as a share of it: stand-ins for those that drop.
    pub over_selection: f64,
    /// Evaluate every so many rounds, and before the first and after the last; 0 never.
    pub eval_every: u32,
    /// Evaluate on so many of the held-out records: a sample, drawn from the seed and the same in every round; 0 takes all.
    pub eval_records: usize,
    /// Evaluate the server's dense copy too, beside what a client would see: twice the work.
    pub eval_dense: bool,
    /// Reject an update whose L2 norm is above this; 0 accepts any finite one.
    pub max_update_norm: f32,
}

impl Config {
    /// Clients that a round of `cohort` needs.
    pub fn quorum_of(&self, cohort: usize) -> usize {
        portion(self.quorum, cohort).max(1)
    }

    /// Clients that a round samples: the cohort and its stand-ins.
    pub fn sampled(&self) -> usize {
        self.cohort.saturating_add(portion(self.over_selection, self.cohort))
    }
}

/// The least whole number that is at least `share * whole`, for the share as it is written: 0.1 of 30 is 3, though the
/// product of the nearest doubles is a little more.
fn portion(share: f64, whole: usize) -> usize {
    /// As a share of the product: far above what rounding adds to it, far below what a written digit does.
    const ROUNDING: f64 = 1e-9;
    (share * whole as f64 * (1.0 - ROUNDING)).ceil() as usize
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
            eval_records: 0,
            eval_dense: false,
            max_update_norm: 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_a_count_is_what_its_digits_say() {
        assert_eq!((portion(0.8, 5), portion(0.1, 30), portion(0.5, 5), portion(1.0, 7)), (4, 3, 3, 7));
        // Every share of up to three digits of every count, against whole numbers.
        for digits in [10_u64, 100, 1000] {
            for share in 0..=2 * digits {
                for whole in 0..=250_u64 {
                    let (found, exact) = (portion(share as f64 / digits as f64, whole as usize), share * whole);
                    assert_eq!(found as u64, exact.div_ceil(digits), "{share}/{digits} of {whole}");
                }
            }
        }
    }

    #[test]
    fn quorum_and_stand_ins_are_shares_of_the_cohort() {
        let config = Config { cohort: 5, quorum: 0.8, over_selection: 0.2, ..Config::default() };
        assert_eq!((config.quorum_of(5), config.sampled()), (4, 6));
        assert_eq!(Config { quorum: 1e-12, ..config.clone() }.quorum_of(5), 1, "nothing is no round");
        assert_eq!(Config { over_selection: f64::MAX, ..config }.sampled(), usize::MAX);
    }
}
