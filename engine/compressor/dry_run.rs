//! A rehearsal: one made-up exchange between a server and a client that both begin, before policies are let into a run.

use std::sync::Arc;

use super::{CompressorError, Memories, Occasion, Plans};
use crate::metrics::Metrics;
use crate::wire::UploadHeader;

/// Values of the made-up delta: of both signs, no two neighbours alike, no zeros.
const STEP: f32 = 1e-3;

impl Plans {
    /// Sends the start down and a made-up delta up, as in the first round of a run with a tier's clients; the result is the
    /// length of the upload's frame. What the policies remember of it is dropped. Blocking; costs about one client's share of a round without its training.
    ///
    /// # Errors
    /// The error of a hook, or of the way of its message through the wire.
    pub fn rehearse(&self, tier: u32) -> Result<u64, CompressorError> {
        // Nobody watches a rehearsal.
        let metrics = Arc::new(Metrics::new());
        let (mut download, mut upload) = (self.download.codec(&metrics), self.upload.codec(&metrics));
        let [down, up] = [&self.download, &self.upload].map(|plan| plan.policy().name.clone());
        let (mut server, mut client) = (Memories::default(), Memories::default());
        let start = self.download.start();

        let broadcast = Occasion::broadcast(1, tier);
        let weights = if self.download.tracked() { Arc::new(vec![0.0; start.len()]) } else { start.clone() };
        let (mut sent, mut received) = (server.of(&down), client.of(&down));
        let frame = download.encode(&broadcast, weights, &mut sent)?;
        let decoded = download.decode(&broadcast, &frame, &mut received)?.values;
        server.keep(&down, sent);
        client.keep(&down, received);

        let mut occasion = Occasion::of_client(1, 0, tier, None);
        occasion.upload = UploadHeader { examples: 1, loss: Some(1.0) };
        let mut memory = client.of(&up);
        let trainable = match self.upload.policy().plans() {
            true => upload.plan_training(&occasion, decoded, &mut memory)?,
            false => None,
        };
        let frame = upload.encode(&occasion, Arc::new(self.delta(trainable.as_deref())), &mut memory)?;
        upload.decode(&occasion, &frame, &mut server.of(&up))?;
        Ok(frame.len() as u64)
    }

    /// A delta that a client could have trained: nothing outside `trainable`, and no residuals.
    fn delta(&self, trainable: Option<&[u32]>) -> Vec<f32> {
        let trained = self.upload.layout().trained();
        let value = |at: usize| if at.is_multiple_of(2) { STEP } else { -STEP } * (1 + at % 7) as f32;
        let mut delta = vec![0.0; self.upload.values()];
        match trainable {
            Some(at) => {
                at.iter().map(|at| *at as usize).filter(|at| *at < trained).for_each(|at| delta[at] = value(at))
            }
            None => (0..trained).for_each(|at| delta[at] = value(at)),
        }
        delta
    }
}
