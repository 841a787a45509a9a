//! `flasc`: the policy of CELLM (arXiv 2407.20557, CMU-CS-24-123) and FLASC (arXiv 2406.05233): both directions send only
//! the values of largest magnitude, while clients train all of them.
//!
//! Download: the top k of `|W|`, the rest is zero at the receiver (`reference = zero`, as in the papers), or the top k of
//! `|W - W0|`, the rest is `W0` (`reference = seeded`). Upload, and differences: the top k of `|x|`, the rest is zero.
//! Heterogeneous tiers (FLASC-het) need nothing more: each message is as dense as its context says.

use cellm_plugin::{
    Capabilities, Compressor, Content, Context, Description, Layout, Message, Options, Policy, PolicyError, Settings,
    ValueCoding, Vector, option, share_of, value_coding,
};

/// The policy's options, as `new` read them.
struct Flasc {
    values: u32,
    decay: f64,
    decay_every: u32,
    seeded: bool,
    coding: ValueCoding,
}

impl Flasc {
    /// `k` of a message: `density * decay^((round - 1) // decay_every)` of all values, rounded down, one at least.
    fn kept(&self, density: f64, round: u32) -> u32 {
        let steps = round.saturating_sub(1).checked_div(self.decay_every).unwrap_or(0);
        share_of(density * self.decay.powi(steps.min(1 << 30) as i32), self.values)
    }

    /// True where coordinates that are not sent are `W0` at the receiver; else they are zero.
    fn falls_back(&self, context: &Context) -> bool {
        self.seeded && context.content == Content::Weights
    }
}

impl Policy for Flasc {
    fn describe() -> Description {
        Description {
            name: "flasc".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            about: "Sends the values of largest magnitude (FLASC, CELLM): of the weights down, of the delta up.".into(),
            capabilities: Capabilities::GAINS_FROM_ERROR_FEEDBACK,
            options: vec![
                option::share("decay", 1.0, "Factor on the density every `decay_every` rounds."),
                option::count("decay_every", 0, "Rounds from one decay to the next; 0 never decays."),
                option::choice(
                    "reference",
                    &["seeded", "zero"],
                    "Weights: `seeded` ranks |W - W0|, unsent values are W0; `zero` ranks |W|, unsent values are 0 (the papers).",
                ),
                option::choice(
                    "values",
                    &["bits", "f32", "f16", "bf16"],
                    "Coding of the values; `bits` takes f32 for 32 bits and f16 for 16.",
                ),
            ],
        }
    }
}

impl Compressor for Flasc {
    fn new(layout: Layout, settings: Settings, options: &Options) -> Result<Self, PolicyError> {
        let by_bits = value_coding(settings.bits)?;
        Ok(Self {
            values: layout.values,
            decay: options.number("decay")?,
            decay_every: options.count("decay_every")?,
            seeded: options.text("reference")? == "seeded",
            coding: match options.text("values")? {
                "f32" => ValueCoding::F32,
                "f16" => ValueCoding::F16,
                "bf16" => ValueCoding::Bf16,
                _ => by_bits,
            },
        })
    }

    fn encode(
        &mut self,
        context: &Context,
        values: &Vector,
        start: &Vector,
        into: &Message,
    ) -> Result<(), PolicyError> {
        let kept = self.kept(context.density, context.round);
        if kept == self.values {
            into.put_values(self.coding, values);
            return Ok(());
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
        Ok(())
    }

    fn decode(&mut self, context: &Context, message: &Message, start: &Vector) -> Result<Vector, PolicyError> {
        let kept = self.kept(context.density, context.round);
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

type Component = cellm_plugin::Exported<Flasc>;
cellm_plugin::export_compressor!(Component);

#[cfg(test)]
mod tests;
