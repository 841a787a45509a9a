//! The choice of a sweep's winner: the best mean utility at the end over the sweep's seeds.

use crate::report::Utility;

/// The place of the best point. `ends` has for each point the utility at the end on each of the sweep's seeds; a point
/// that lacks one (its cell failed) is not chosen. Of equal points the first wins; none where no point has them all.
pub(super) fn best(ends: &[Vec<Option<f64>>], utility: Utility) -> Option<usize> {
    let mut best: Option<(usize, f64)> = None;
    for (point, of_seeds) in ends.iter().enumerate() {
        let all: Option<Vec<f64>> = of_seeds.iter().map(|end| end.filter(|end| end.is_finite())).collect();
        let Some(all) = all.filter(|all| !all.is_empty()) else { continue };
        let mean = all.iter().sum::<f64>() / all.len() as f64;
        if best.is_none_or(|(_, known)| utility.better(mean, known)) {
            best = Some((point, mean));
        }
    }
    best.map(|(point, _)| point)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_mean_wins_and_a_failed_point_never_does() {
        let ends = [vec![Some(3.0), Some(3.2)], vec![Some(2.0), None], vec![Some(3.0), Some(3.1)], vec![Some(3.05); 2]];
        assert_eq!(best(&ends, Utility::Loss), Some(2), "of equal means the first");
        assert_eq!(best(&ends, Utility::Accuracy), Some(0));
        assert_eq!(best(&[vec![None], vec![Some(f64::NAN)]], Utility::Loss), None);
        assert_eq!(best(&[], Utility::Loss), None);
    }
}
