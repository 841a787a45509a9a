//! The local learning rate of each round: the keys of section `client` and a round in, a rate out. A function of these
//! alone, so that a resumed run trains with the rates of an undisturbed one.

use std::f64::consts::PI;

use super::{LocalConfig, LrSchedule, TrainerKind};

/// The learning rates of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LearningRates {
    schedule: LrSchedule,
    highest: f64,
    floor: f64,
    warmup_rounds: u32,
    rounds: u32,
}

impl LearningRates {
    /// The rates of a run that was asked for `rounds` rounds; none where nothing is trained.
    pub fn new(local: &LocalConfig, rounds: u32) -> Option<Self> {
        let LocalConfig { lr, lr_schedule, lr_floor, warmup_rounds, .. } = *local;
        let (schedule, highest, floor) = (lr_schedule, lr, lr_floor);
        (local.trainer == TrainerKind::Burn).then_some(Self { schedule, highest, floor, warmup_rounds, rounds })
    }

    /// The rate of a round, from 1. Training takes it in single precision.
    pub fn of(&self, round: u32) -> f64 {
        let Self { schedule, highest, floor, warmup_rounds, rounds } = *self;
        if round <= warmup_rounds {
            return highest * f64::from(round) / f64::from(warmup_rounds.max(1));
        }
        let all = f64::from(rounds.saturating_sub(warmup_rounds).max(1));
        let done = f64::from(round - warmup_rounds).min(all);
        match schedule {
            LrSchedule::Constant => highest,
            LrSchedule::Linear => floor + (highest - floor) * (1.0 - done / all),
            // Of libm, as that of the system is another one on each.
            LrSchedule::Cosine => floor + 0.5 * (highest - floor) * (1.0 + libm::cos(PI * done / all)),
        }
    }

    /// True where not all rounds have the same rate.
    pub fn change(&self) -> bool {
        self.warmup_rounds > 1 || (self.schedule != LrSchedule::Constant && self.floor != self.highest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(schedule: LrSchedule, [lr, lr_floor]: [f64; 2], warmup_rounds: u32, rounds: u32) -> Vec<f64> {
        let local = LocalConfig { lr, lr_schedule: schedule, lr_floor, warmup_rounds, ..LocalConfig::default() };
        let rates = LearningRates::new(&local, rounds).unwrap();
        (1..=rounds).map(|round| rates.of(round)).collect()
    }

    fn close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() <= 1e-15 * expected.abs().max(1e-3), "{found:e} is not {expected:e}");
        }
    }

    #[test]
    fn a_constant_rate_is_the_rate_that_was_set_to_the_bit() {
        assert_eq!(rates(LrSchedule::Constant, [5e-3, 0.0], 0, 4), [5e-3; 4]);
        assert_eq!(rates(LrSchedule::Constant, [0.8, 0.0], 4, 6), [0.2, 0.4, 0.6000000000000001, 0.8, 0.8, 0.8]);
    }

    #[test]
    fn a_linear_rate_falls_in_equal_steps_and_ends_at_its_floor() {
        close(&rates(LrSchedule::Linear, [1.0, 0.0], 0, 4), &[0.75, 0.5, 0.25, 0.0]);
        close(&rates(LrSchedule::Linear, [1.0, 0.2], 2, 6), &[0.5, 1.0, 0.8, 0.6, 0.4, 0.2]);
    }

    #[test]
    fn a_cosine_rate_falls_slowly_fast_and_slowly_and_ends_at_its_floor() {
        let root = 0.5_f64.sqrt();
        let falling = [0.5 + 0.5 * root, 0.5, 0.5 - 0.5 * root, 0.0];
        close(&rates(LrSchedule::Cosine, [1.0, 0.0], 0, 4), &falling);
        let warm: Vec<f64> = [0.5, 1.0].into_iter().chain(falling).collect();
        close(&rates(LrSchedule::Cosine, [1.0, 0.0], 2, 6), &warm);
    }

    #[test]
    fn flowertunes_recipe_gives_flowertunes_rates() {
        // flowertune_llm/models.py: cosine_annealing(round, 200, lrate_max=5e-5, lrate_min=1e-6), run in Python.
        let of = rates(LrSchedule::Cosine, [5e-5, 1e-6], 0, 200);
        let expected = FLOWERTUNE.map(|(_, rate)| rate);
        close(&FLOWERTUNE.map(|(round, _)| of[round - 1]), &expected);
        assert!(of.is_sorted_by(|earlier, later| earlier > later));
    }

    #[test]
    fn rates_change_where_two_rounds_have_another() {
        let changes = |schedule, floor, warmup_rounds| {
            let local = LocalConfig { lr_schedule: schedule, lr_floor: floor, warmup_rounds, ..LocalConfig::default() };
            LearningRates::new(&local, 9).unwrap().change()
        };
        let lr = LocalConfig::default().lr;
        assert!(!changes(LrSchedule::Constant, 0.0, 0) && !changes(LrSchedule::Constant, 0.0, 1));
        assert!(changes(LrSchedule::Constant, 0.0, 2) && changes(LrSchedule::Linear, 0.0, 0));
        assert!(!changes(LrSchedule::Cosine, lr, 0));
        let noop = LocalConfig { trainer: TrainerKind::Noop, ..LocalConfig::default() };
        assert_eq!(LearningRates::new(&noop, 9), None);
    }

    const FLOWERTUNE: [(usize, f64); 7] = [
        (1, 4.9996977495800686e-05),
        (2, 4.998791072896043e-05),
        (50, 4.2824116139070415e-05),
        (100, 2.5500000000000003e-05),
        (150, 8.175883860929588e-06),
        (199, 1.0030225041993156e-06),
        (200, 1e-06),
    ];
}
