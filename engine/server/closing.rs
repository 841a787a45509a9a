//! The end of a round, off the server's mailbox: step the optimizer, encode what goes down next, evaluate both copies.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::ServerError;
use super::optimizer::ServerOptimizer;
use crate::compressor::{Compressors, Occasion};
use crate::policy::Direction;
use crate::trainer::Trainers;

/// The server's dense copy and its optimizer: what a round changes.
#[derive(Clone)]
pub(super) struct Model {
    /// `W`, dense: it never forgets what a policy masks.
    pub weights: Arc<Vec<f32>>,
    pub optimizer: ServerOptimizer,
}

/// What goes down next, and what it is worth.
pub(super) struct View {
    /// The next round's download frame.
    pub frame: Arc<Vec<u8>>,
    /// What a client makes of it.
    pub values: Arc<Vec<f32>>,
    /// Mean loss on the view, nats a token.
    pub loss: Option<f64>,
    /// Mean loss on the dense copy, nats a token.
    pub loss_dense_copy: Option<f64>,
}

/// FLASC Alg. 1, server side: the optimizer moves the dense copy by the mean delta. Returns the norm of the update.
pub(super) fn step(model: &mut Model, update: &[f32], round: u32) -> Result<f64, ServerError> {
    let count = update.iter().filter(|value| !value.is_finite()).count();
    if count > 0 {
        return Err(ServerError::NotFinite { round, count });
    }
    model.optimizer.step(Arc::make_mut(&mut model.weights).as_mut_slice(), update);
    Ok(update.iter().map(|value| f64::from(*value) * f64::from(*value)).sum::<f64>().sqrt())
}

/// Encodes the download that follows `round`, decodes it as a client would and evaluates on that when asked to.
pub(super) async fn look(
    weights: &Arc<Vec<f32>>,
    round: u32,
    evaluate: bool,
    compressors: &Compressors,
    trainers: &Trainers,
    cancel: &Arc<AtomicBool>,
) -> Result<View, ServerError> {
    let next = Occasion { round: round + 1, client: None, examples: 0 };
    let pool = |source| ServerError::Pool { round, source };
    let download = |source| ServerError::Download { round: round + 1, source };
    let frame =
        compressors.encode(Direction::Download, next, weights.clone()).await.map_err(pool)?.map_err(download)?;
    let frame = Arc::new(frame);
    let values = compressors.decode(Direction::Download, next, frame.clone()).await.map_err(pool)?.map_err(download)?;
    let mut view = View { frame, values, loss: None, loss_dense_copy: None };
    if evaluate {
        let loss = async |weights: &Arc<Vec<f32>>| {
            let evaluated = trainers.evaluate(weights.clone(), cancel.clone()).await.map_err(pool)?;
            let evaluated = evaluated.map_err(|source| ServerError::Evaluate { round, source })?;
            Ok::<_, ServerError>((evaluated.tokens > 0).then(|| evaluated.loss()))
        };
        view.loss = loss(&view.values).await?;
        view.loss_dense_copy = if view.values == *weights { view.loss } else { loss(weights).await? };
    }
    Ok(view)
}
