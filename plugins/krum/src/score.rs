//! Krum's arithmetic on distances. In: how far the updates are from each other. Out: which are the best.

/// The score of each update: the sum of its squared distances to its `neighbours` nearest others. Lower is better; an update
/// without that many others at a finite distance has an infinite score.
pub fn scores(distances: &[Vec<f64>], neighbours: usize) -> Vec<f64> {
    let score = |(own, row): (usize, &Vec<f64>)| {
        let others = row.iter().enumerate().filter(|(other, _)| *other != own);
        let mut squares: Vec<f64> = others.map(|(_, distance)| square(*distance)).collect();
        squares.sort_by(f64::total_cmp);
        squares.iter().take(neighbours).sum()
    };
    distances.iter().enumerate().map(score).collect()
}

/// NaN counts as infinitely far, so that an update of NaN is nobody's neighbour.
fn square(distance: f64) -> f64 {
    if distance.is_nan() { f64::INFINITY } else { distance * distance }
}

/// Positions of the `count` lowest scores, in rising order of position; of equal scores the earlier.
pub fn lowest(scores: &[f64], count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|one, other| scores[*one].total_cmp(&scores[*other]));
    order.truncate(count);
    order.sort_unstable();
    order
}
