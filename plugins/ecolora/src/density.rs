//! The densities of uploads: fewer values as the loss falls. In: losses of uploads, kept in the memory. Out: densities.

use cellm_plugin::{Context, Packed, PolicyError, Unpacked, load_bytes, save_bytes};

/// A client's first loss.
const FIRST: &str = "first_loss";
/// The server's means of losses.
const MEANS: &str = "mean_losses";

/// `k_min + (k_max - k_min) * exp(-gamma * (L0 - Lt))` for A and for the rest; `k_max` is the density of the context.
pub struct Curve {
    /// `k_min / k_max`.
    pub least: (f64, f64),
    pub gamma: (f64, f64),
}

impl Curve {
    /// After the loss fell by so many nats. A loss that rose counts as one that stayed.
    fn after(&self, density: f64, fell: f64) -> (f64, f64) {
        let fell = if fell > 0.0 { fell } else { 0.0 };
        let at = |least: f64, gamma: f64| density * (least + (1.0 - least) * (-gamma * fell).exp());
        (at(self.least.0, self.gamma.0), at(self.least.1, self.gamma.1))
    }

    /// For an upload, at the client; its first loss is kept in its memory.
    pub fn of_client(&self, context: &Context) -> (f64, f64) {
        let Some(loss) = context.loss else { return self.after(context.density, 0.0) };
        let first = load_bytes(FIRST).and_then(|bytes| Unpacked::new(&bytes).f64().ok());
        if first.is_none() {
            save_bytes(FIRST, &Packed::default().f64(loss).bytes());
        }
        self.after(context.density, first.unwrap_or(loss) - loss)
    }

    /// For a download, at the server.
    pub fn of_server(&self, context: &Context) -> (f64, f64) {
        let fell = Means::load().map_or(0.0, |means| means.first_mean() - means.mean());
        self.after(context.density, fell)
    }
}

/// Notes the loss of an upload, at the server.
pub fn note(context: &Context) -> Result<(), PolicyError> {
    let Some(loss) = context.loss else { return Ok(()) };
    let mut means = Means::load().unwrap_or(Means { first: None, round: context.round, sum: 0.0, count: 0 });
    if means.round != context.round {
        means = Means { first: Some(means.first_mean()), round: context.round, sum: 0.0, count: 0 };
    }
    means.sum += loss;
    means.count += 1;
    means.save();
    Ok(())
}

/// The mean loss of the first round that was seen, and of the last.
struct Means {
    /// None while the first is the last.
    first: Option<f64>,
    round: u32,
    sum: f64,
    count: u32,
}

impl Means {
    fn mean(&self) -> f64 {
        self.sum / f64::from(self.count.max(1))
    }

    fn first_mean(&self) -> f64 {
        self.first.unwrap_or_else(|| self.mean())
    }

    fn load() -> Option<Self> {
        let bytes = load_bytes(MEANS)?;
        let mut bytes = Unpacked::new(&bytes);
        let (known, first) = (bytes.u32().ok()?, bytes.f64().ok()?);
        let (round, sum, count) = (bytes.u32().ok()?, bytes.f64().ok()?, bytes.u32().ok()?);
        Some(Self { first: (known == 1).then_some(first), round, sum, count })
    }

    fn save(&self) {
        let head = Packed::default().u32(self.first.is_some().into()).f64(self.first.unwrap_or(0.0));
        save_bytes(MEANS, &head.u32(self.round).f64(self.sum).u32(self.count).bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn density_falls_from_its_most_to_its_least() {
        let curve = Curve { least: (0.6, 0.5), gamma: (1.0, 2.0) };
        assert_eq!(curve.after(0.25, 0.0), (0.25, 0.25));
        assert_eq!(curve.after(0.25, -3.0), (0.25, 0.25), "a loss that rose");
        assert_eq!(curve.after(0.25, f64::NAN), (0.25, 0.25));
        let (a, rest) = curve.after(0.25, 1.0);
        assert!((a - 0.25 * (0.6 + 0.4 * (-1.0_f64).exp())).abs() < 1e-12);
        assert!((rest - 0.25 * (0.5 + 0.5 * (-2.0_f64).exp())).abs() < 1e-12);
        assert_eq!(curve.after(0.25, 1e9), (0.15, 0.125));
    }
}
