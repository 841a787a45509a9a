//! A task that a federation can solve: each client is drawn to a point of its own, all together to the mean of the points.

use super::Adapter;

/// Least squares: client i ends nearer to its point. The optimum of the run is the mean of all points.
#[derive(Debug, Clone)]
pub struct Task {
    points: Vec<Vec<f32>>,
    /// The common optimum of all clients.
    pub optimum: Vec<f32>,
    /// The share of the way to its point that a client goes in a round.
    pub rate: f32,
}

impl Task {
    /// Points around a common one at distance 1 from the start; `spread` is how far they are from it.
    pub fn new(adapter: &Adapter, clients: u32, seed: u64, spread: f64) -> Self {
        let common = adapter.weights(seed, 1.0);
        let point = |client: u32| {
            let mut point = common.clone();
            cellm_kernels::axpy(&mut point, 1.0, &adapter.delta(seed + 1 + u64::from(client), spread));
            point
        };
        let points: Vec<Vec<f32>> = (0..clients).map(point).collect();
        let mut optimum = vec![0.0; common.len()];
        points.iter().for_each(|point| cellm_kernels::axpy(&mut optimum, 1.0 / clients as f32, point));
        Self { points, optimum, rate: 0.5 }
    }

    /// The end of a client's training that started from what it received.
    pub fn train(&self, client: u32, received: &[f32]) -> Vec<f32> {
        let point = &self.points[client as usize % self.points.len()];
        received.iter().zip(point).map(|(from, to)| from + self.rate * (to - from)).collect()
    }

    /// Distance from the optimum.
    pub fn error(&self, weights: &[f32]) -> f64 {
        cellm_kernels::distance(weights, &self.optimum)
    }
}
