//! NAME: sends the values of largest magnitude. This file is the policy: edit it, then `cellm plugin build`.

use cellm_plugin::{
    Capabilities, Compressor, Content, Context, Description, Layout, Message, Options, Policy, PolicyError, Settings,
    ValueCoding, Vector, option, share_of, value_coding,
};

/// The policy's options, as `new` read them. What later rounds need goes into the memory (`save`, `load`), never in here.
struct Idea {
    values: u32,
    coding: ValueCoding,
    decay: f64,
}

impl Idea {
    /// Number of values that travel in this round: encoder and decoder see the same context.
    fn kept(&self, context: &Context) -> u32 {
        share_of(context.density * self.decay.powi(context.round as i32 - 1), self.values)
    }
}

impl Policy for Idea {
    fn describe() -> Description {
        Description {
            name: "NAME".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            about: "Sends the values of largest magnitude.".into(),
            capabilities: Capabilities::GAINS_FROM_ERROR_FEEDBACK,
            options: vec![option::share("decay", 1.0, "Factor on the density after every round.")],
        }
    }
}

impl Compressor for Idea {
    fn new(layout: Layout, settings: Settings, options: &Options) -> Result<Self, PolicyError> {
        Ok(Self { values: layout.values, coding: value_coding(settings.bits)?, decay: options.number("decay")? })
    }

    fn encode(&mut self, context: &Context, of: &Vector, start: &Vector, into: &Message) -> Result<(), PolicyError> {
        let ranked = of.copy();
        if context.content == Content::Weights {
            ranked.axpy(-1.0, start); // what is not sent falls back to the start, so rank what moved
        }
        let chosen = ranked.top_k(0, self.values, self.kept(context));
        into.put_indices(&chosen);
        into.put_values(self.coding, &of.gather(&chosen));
        Ok(())
    }

    fn decode(&mut self, context: &Context, message: &Message, start: &Vector) -> Result<Vector, PolicyError> {
        let chosen = message.take_indices(self.values)?;
        let (found, expected) = (chosen.count(), self.kept(context));
        if found != expected {
            return Err(PolicyError::BadMessage(format!("{found} indices found, {expected} expected")));
        }
        let sent = message.take_values(self.coding, expected)?;
        let decoded = if context.content == Content::Weights { start.copy() } else { Vector::new(self.values) };
        decoded.scatter(&chosen, &sent);
        Ok(decoded)
    }
}

type Component = cellm_plugin::Exported<Idea>;
cellm_plugin::export_compressor!(Component);

#[cfg(test)]
mod tests {
    use cellm_plugin::harness::{Adapter, Harness};

    use super::*;

    #[test]
    fn the_largest_values_arrive_and_the_rest_is_zero() {
        let adapter = Adapter::lora(4, &[(40, 24), (24, 40)]);
        let mut harness = Harness::<Idea>::new(&adapter, 32, &[("decay", 0.5.into())]).unwrap();
        harness.density = 0.25;
        let delta = adapter.delta(1, 1e-3);
        for (round, kept) in [(1, 4), (2, 8)] {
            let sent = harness.upload(round, 7, &delta).unwrap();
            let got = harness.collect(&sent).unwrap();
            let arrived = got.iter().filter(|value| **value != 0.0).count();
            assert_eq!(arrived, delta.len() / kept);
            assert!(got.iter().zip(&delta).all(|(got, sent)| *got == 0.0 || got == sent));
        }
    }
}
