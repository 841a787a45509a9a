//! Whole rounds: broadcast, training, uploads, aggregate, the server's step.

use super::{Adapter, Aggregation, Harness, update_info};
use crate::{Aggregator, Compressor, PolicyError, UpdateInfo};

/// A federation of one compressor (both directions) and one aggregator; the server adds the aggregate to its weights.
#[derive(Debug)]
pub struct Rounds<P, A> {
    /// The compressor.
    pub compressor: Harness<P>,
    /// The aggregator.
    pub aggregation: Aggregation<A>,
    /// The server's dense weights.
    pub weights: Vec<f32>,
    /// Rounds so far.
    pub round: u32,
}

/// The result of a round.
#[derive(Debug, Clone)]
pub struct Ended {
    /// The values that each client of the cohort received, in its order.
    pub received: Vec<Vec<f32>>,
    /// The decoded updates of those that were not lost, with what the aggregator was told.
    pub updates: Vec<(Vec<f32>, UpdateInfo)>,
    /// The aggregate of the cohort's updates.
    pub aggregate: Vec<f32>,
    /// Bytes of the broadcast, once for each client of the cohort.
    pub bytes_down: u64,
    /// Bytes of all uploads, the lost ones included.
    pub bytes_up: u64,
}

impl<P: Compressor, A: Aggregator> Rounds<P, A> {
    /// From the start on.
    pub fn new(adapter: &Adapter, compressor: Harness<P>, aggregation: Aggregation<A>) -> Self {
        Self { compressor, aggregation, weights: adapter.start.clone(), round: 0 }
    }

    /// The next round: `cohort` takes part and trains by `train(client, received)`, the uploads of `lost` do not arrive.
    pub fn next(
        &mut self,
        cohort: &[u32],
        lost: &[u32],
        mut train: impl FnMut(u32, &[f32]) -> Vec<f32>,
    ) -> Result<Ended, PolicyError> {
        let round = self.round + 1;
        let broadcast = self.compressor.broadcast(round, &self.weights)?;
        let bytes_down = broadcast.bytes * cohort.len() as u64;
        let mut ended = Ended { received: vec![], updates: vec![], aggregate: vec![], bytes_down, bytes_up: 0 };
        for client in cohort {
            let received = self.compressor.receive(*client, &broadcast)?;
            let mut delta = train(*client, &received);
            cellm_kernels::axpy(&mut delta, -1.0, &received);
            let upload = self.compressor.upload(round, *client, &delta)?;
            ended.bytes_up += upload.bytes;
            if !lost.contains(client) {
                let update = self.compressor.collect(&upload)?;
                let mut info = update_info(*client, &update);
                info.examples = upload.context.examples;
                info.loss = upload.context.loss;
                ended.updates.push((update, info));
            }
            ended.received.push(received);
        }
        let base = ended.received.first().unwrap_or(&self.weights);
        ended.aggregate = self.aggregation.round(round, base, &ended.updates)?;
        cellm_kernels::axpy(&mut self.weights, 1.0, &ended.aggregate);
        let accepted: Vec<u32> = ended.updates.iter().map(|(_, info)| info.client).collect();
        self.compressor.end_round(round, &accepted);
        self.round = round;
        Ok(ended)
    }
}
