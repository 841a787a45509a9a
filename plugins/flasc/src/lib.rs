//! `flasc`: the policy of CELLM (arXiv 2407.20557, CMU-CS-24-123) and FLASC (arXiv 2406.05233): both directions send only
//! the values of largest magnitude, while clients train all of them.
//!
//! Download: the top k of `|W|`, the rest is zero at the receiver (`reference = zero`, as in the papers), or the top k of
//! `|W - W0|`, the rest is `W0` (`reference = seeded`). Upload: the top k of `|delta|`.

mod bindings {
    wit_bindgen::generate!({ world: "compressor", path: "../../wit" });
}
mod options;

use std::cell::OnceCell;

use bindings::cellm::policy::host::{Message, Vector};
use bindings::cellm::policy::types::{Context, Description, Direction, Layout, NamedOption, PolicyError, ValueCoding};
use bindings::exports::cellm::policy::compressing::{Guest as Compressing, Settings};
use bindings::exports::cellm::policy::describing::Guest as Describing;

thread_local! {
    static STATE: OnceCell<Flasc> = const { OnceCell::new() };
}

/// What `init` settled.
struct Flasc {
    values: u32,
    density: f64,
    decay: f64,
    decay_every: u64,
    seeded: bool,
    coding: ValueCoding,
}

impl Flasc {
    /// `k` of a round: `density * decay^((round - 1) // decay_every)` of all values, rounded down, one at least.
    fn kept(&self, round: u32) -> u32 {
        let steps = u64::from(round.saturating_sub(1)).checked_div(self.decay_every).unwrap_or(0);
        let density = self.density * self.decay.powi(steps.min(1 << 30) as i32);
        ((density * f64::from(self.values)) as u32).max(1).min(self.values)
    }

    /// Whether coordinates that are not sent are `W0` at the receiver.
    fn falls_back(&self, context: &Context) -> bool {
        self.seeded && context.direction == Direction::Download
    }

    fn encode(&self, context: &Context, values: &Vector, start: &Vector, into: &Message) {
        let kept = self.kept(context.round);
        if kept == self.values {
            return into.put_values(self.coding, values);
        }
        let chosen = if self.falls_back(context) {
            let moved = values.copy();
            moved.axpy(-1.0, start);
            moved.top_k(0, self.values, kept)
        } else {
            values.top_k(0, self.values, kept)
        };
        into.put_indices(&chosen);
        into.put_values(self.coding, &values.gather(&chosen));
    }

    fn decode(&self, context: &Context, message: &Message, start: &Vector) -> Result<Vector, PolicyError> {
        let kept = self.kept(context.round);
        if kept == self.values {
            return message.take_values(self.coding, kept);
        }
        let chosen = message.take_indices(self.values)?;
        if chosen.count() != kept {
            let found = chosen.count();
            return Err(PolicyError::BadMessage(format!("{found} indices found, {kept} expected")));
        }
        let sent = message.take_values(self.coding, kept)?;
        let whole = if self.falls_back(context) { start.copy() } else { Vector::new(self.values) };
        whole.scatter(&chosen, &sent);
        Ok(whole)
    }
}

/// Runs `work` on what `init` left.
fn with_state<T>(work: impl FnOnce(&Flasc) -> Result<T, PolicyError>) -> Result<T, PolicyError> {
    STATE.with(|state| state.get().ok_or(PolicyError::Other("init comes first".into())).and_then(work))
}

struct Component;

impl Describing for Component {
    fn describe() -> Description {
        Description {
            name: "flasc".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            about: "Sends the values of largest magnitude (FLASC, CELLM): of the weights down, of the delta up.".into(),
            options: options::declared(),
        }
    }
}

impl Compressing for Component {
    fn init(layout: Layout, settings: Settings, options: Vec<NamedOption>) -> Result<(), PolicyError> {
        let flasc = options::read(layout.values, &settings, options)?;
        STATE.with(|state| state.set(flasc)).map_err(|_| PolicyError::Other("init was called twice".into()))
    }

    fn encode(context: Context, values: &Vector, start: &Vector, into: &Message) -> Result<(), PolicyError> {
        with_state(|flasc| {
            flasc.encode(&context, values, start, into);
            Ok(())
        })
    }

    fn decode(context: Context, message: &Message, start: &Vector) -> Result<Vector, PolicyError> {
        with_state(|flasc| flasc.decode(&context, message, start))
    }
}

bindings::export!(Component with_types_in bindings);

#[cfg(test)]
mod tests {
    use super::*;

    fn flasc(values: u32, density: f64) -> Flasc {
        Flasc { values, density, decay: 0.5, decay_every: 10, seeded: false, coding: ValueCoding::F32 }
    }

    #[test]
    fn density_halves_every_ten_rounds() {
        let kept: Vec<u32> = [1, 10, 11, 20, 21].map(|round| flasc(1000, 0.25).kept(round)).into();
        assert_eq!(kept, [250, 250, 125, 125, 62]);
    }

    #[test]
    fn at_least_one_value_is_kept_and_never_more_than_all() {
        assert_eq!(flasc(1000, 1e-9).kept(1), 1);
        assert_eq!(flasc(1000, 0.25).kept(u32::MAX), 1);
        assert_eq!(flasc(1000, 1.0).kept(1), 1000);
        assert_eq!(flasc(0, 1.0).kept(1), 0);
    }

    #[test]
    fn without_decay_every_density_stays() {
        let constant = Flasc { decay_every: 0, ..flasc(1000, 0.25) };
        assert_eq!(constant.kept(500), 250);
    }
}
