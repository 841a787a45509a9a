//! `fedlol`: clients weighted by their loss, the lower the more. Of `n` clients with mean local losses `l_i` and
//! `L = sum of l_i`, the weight is proportional to the sum of the others' losses:
//!
//! `w_i = (L - l_i) / ((n - 1) L)`, so `G = (sum of u_i - (sum of l_i u_i) / L) / (n - 1)`.
//!
//! Two running sums are enough. No client counts for more than `1 / (n - 1)`, whatever loss it claims. A client whose loss is
//! missing (not finite, or negative) has no weight and is refused; a single client, or losses that are all zero, count the
//! same. Losses are kept as shares of the largest so far, so that one absurd loss overflows nothing.

use cellm_plugin::mean::Mean;
use cellm_plugin::{
    Aggregator, Capabilities, Description, Exported, Layout, Options, Policy, PolicyError, RoundInfo, UpdateInfo,
    Vector,
};

/// The two sums of the round.
#[derive(Default)]
pub struct FedLol {
    /// Every update once.
    plain: Mean,
    /// Every update times its loss, as a share of `largest`.
    by_loss: Option<Vector>,
    /// The sum of these shares.
    shares: f64,
    largest: f64,
}

impl Policy for FedLol {
    fn describe() -> Description {
        Description {
            name: "fedlol".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            about: "The mean of the updates, each weighted by the sum of the other clients' losses.".into(),
            capabilities: Capabilities::NEEDS_LOSS,
            options: Vec::new(),
        }
    }
}

impl Aggregator for FedLol {
    fn new(_: Layout, _: &Options) -> Result<Self, PolicyError> {
        Ok(Self::default())
    }

    fn begin(&mut self, _: &RoundInfo, _: &Vector) -> Result<(), PolicyError> {
        *self = Self::default();
        Ok(())
    }

    fn accept(&mut self, update: &Vector, info: &UpdateInfo) -> Result<(), PolicyError> {
        if !info.loss.is_finite() || info.loss < 0.0 {
            return Err(PolicyError::Other(format!("a loss of {}, it must be finite and at least 0", info.loss)));
        }
        self.plain.add(1.0, update);
        let by_loss = self.by_loss.get_or_insert_with(|| Vector::new(update.len()));
        if info.loss > self.largest {
            let shrink = self.largest / info.loss;
            by_loss.scale(shrink as f32);
            self.shares *= shrink;
            self.largest = info.loss;
        }
        let share = if self.largest > 0.0 { info.loss / self.largest } else { 0.0 };
        by_loss.axpy(share as f32, update);
        self.shares += share;
        Ok(())
    }

    fn finish(&mut self) -> Result<Vector, PolicyError> {
        let Self { mut plain, by_loss, shares, .. } = std::mem::take(self);
        let clients = plain.weight();
        let mean = plain.take()?;
        let Some(by_loss) = by_loss.filter(|_| clients > 1.0 && shares > 0.0) else {
            return Ok(mean);
        };
        // n mean - by_loss / shares, over n - 1.
        mean.scale((clients / (clients - 1.0)) as f32);
        mean.axpy((-1.0 / (shares * (clients - 1.0))) as f32, &by_loss);
        Ok(mean)
    }
}

type Component = Exported<FedLol>;
cellm_plugin::export_aggregator!(Component);

#[cfg(test)]
mod tests;
