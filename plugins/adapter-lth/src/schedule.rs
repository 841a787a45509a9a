//! The size of the mask by round: every `every` rounds `keep` of it stays, down to the density.

use cellm_plugin::{PolicyError, bad_option, share_of};

/// As many shrinks as one byte a coordinate can tell apart.
const MOST_SHRINKS: u32 = 255;

/// The schedule that the options ask for.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// Share that stays at a shrink, in (0, 1].
    pub keep: f64,
    /// Rounds from one shrink to the next, one at least.
    pub every: u32,
}

impl Schedule {
    /// Number of coordinates of `values` in the mask of a round; the first is round 1.
    pub fn count(&self, round: u32, density: f64, values: u32) -> u32 {
        let shrinks = (round.saturating_sub(1) / self.every.max(1)).min(MOST_SHRINKS);
        share_of(self.keep.powi(shrinks as i32).max(density), values)
    }

    /// Refuses a way down to the density that takes more shrinks than can be told apart.
    pub fn check(&self, density: f64) -> Result<(), PolicyError> {
        if self.keep >= 1.0 || self.keep.powi(MOST_SHRINKS as i32) <= density {
            return Ok(());
        }
        let allowed = format!("a share that reaches density {density} in {MOST_SHRINKS} shrinks, or 1");
        Err(bad_option("keep", self.keep, &allowed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_stays_every_ten_rounds_until_the_density_is_reached() {
        let schedule = Schedule { keep: 0.5, every: 10 };
        let counts = [1, 10, 11, 20, 21, 31, 400].map(|round| schedule.count(round, 0.2, 1000));
        assert_eq!(counts, [1000, 1000, 500, 500, 250, 200, 200]);
    }

    #[test]
    fn one_coordinate_stays_whatever_the_density() {
        assert_eq!(Schedule { keep: 0.01, every: 1 }.count(u32::MAX, 1e-12, 1000), 1);
    }

    #[test]
    fn a_share_that_takes_too_many_shrinks_is_refused() {
        assert!(Schedule { keep: 0.99, every: 1 }.check(0.01).is_err());
        assert!(Schedule { keep: 0.98, every: 1 }.check(0.01).is_ok());
        assert!(Schedule { keep: 1.0, every: 1 }.check(0.01).is_ok());
    }
}
