//! The choice of a sweep's winner: the best mean metric at the end over the sweep's seeds.

use crate::report::EvaluationMetric;

/// The index of the best point. `ends` has for each point the metric at the end on each of the sweep's seeds; a point
/// that lacks one (its cell failed) is not chosen. Of equal points the first wins; none where no point has them all.
pub(super) fn best_point(ends: &[Vec<Option<f64>>], metric: EvaluationMetric) -> Option<usize> {
    let mut best: Option<(usize, f64)> = None;
    for (point, of_seeds) in ends.iter().enumerate() {
        let all: Option<Vec<f64>> = of_seeds.iter().map(|end| end.filter(|end| end.is_finite())).collect();
        let Some(all) = all.filter(|all| !all.is_empty()) else { continue };
        let mean = all.iter().sum::<f64>() / all.len() as f64;
        if best.is_none_or(|(_, known)| metric.is_better(mean, known)) {
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
        assert_eq!(best_point(&ends, EvaluationMetric::Loss), Some(2), "of equal means the first");
        assert_eq!(best_point(&ends, EvaluationMetric::Accuracy), Some(0));
        assert_eq!(best_point(&[vec![None], vec![Some(f64::NAN)]], EvaluationMetric::Loss), None);
        assert_eq!(best_point(&[], EvaluationMetric::Loss), None);
    }
}
