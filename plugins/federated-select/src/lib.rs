//! `federated-select`: the baseline of that name of CELLM and FLASC (arXiv 2407.20557, arXiv 2406.05233, reference code's
//! `client-freeze`), after Federated Select (Charles et al. 2022, arXiv 2208.09432): each round the server selects what
//! its clients are to work on, and they work on nothing else.
//!
//! A fresh mask of the k largest coordinates each round, one for each tier. The download carries its coordinates and
//! their values. Local training is held to it, so the upload is k values without an index.
//!
//! The papers rank `|W|` (`reference = zero`); `seeded` ranks `|W - W0|`. Before anything was trained either says nothing
//! about what matters: |W| has A's random start only, and with B at zero and out of the mask nothing would ever learn.
//! Hence `dense_rounds` first.

use cellm_masks::{Mask, Reference, Told, needs_weights};
use cellm_plugin::{
    Capabilities, Compressor, Context, Description, Direction, Layout, Message, Options, Planning, Policy, PolicyError,
    Settings, TrainingPlan, ValueCoding, Vector, kept, option, value_coding,
};

const NAME: &str = "federated-select";

/// What the options settle; the mask of the round lies in memory.
pub struct FederatedSelect {
    values: u32,
    coding: ValueCoding,
    dense_rounds: u32,
    reference: Reference,
}

impl FederatedSelect {
    /// How many coordinates a round works on.
    fn count(&self, context: &Context) -> u32 {
        if context.round <= self.dense_rounds { self.values } else { kept(context, self.values) }
    }

    fn select(&self, context: &Context, weights: &Vector, start: &Vector) -> Mask {
        let count = self.count(context);
        if count == self.values {
            return Mask::all(self.values, context.round);
        }
        Mask::of(self.reference.largest(weights, start, count), context.round)
    }
}

impl Policy for FederatedSelect {
    fn describe() -> Description {
        Description {
            name: NAME.into(),
            version: env!("CARGO_PKG_VERSION").into(),
            about: "A fresh mask of the largest weights each round; clients train and return nothing else.".into(),
            capabilities: Capabilities::STATEFUL_CLIENT | Capabilities::CHANGES_LAYOUT | Capabilities::LINEAR,
            options: vec![
                option::count("dense_rounds", 1, "Rounds in which everything is sent and trained, before masks."),
                Reference::option(),
            ],
        }
    }
}

impl Compressor for FederatedSelect {
    fn new(layout: Layout, settings: Settings, options: &Options) -> Result<Self, PolicyError> {
        Ok(Self {
            values: layout.values,
            coding: value_coding(settings.bits)?,
            dense_rounds: options.count("dense_rounds")?,
            reference: Reference::read(options)?,
        })
    }

    fn encode(
        &mut self,
        context: &Context,
        values: &Vector,
        start: &Vector,
        into: &Message,
    ) -> Result<(), PolicyError> {
        if context.direction == Direction::Upload {
            Mask::held(NAME, context, self.values)?.put_values(self.coding, values, into);
            return Ok(());
        }
        needs_weights(NAME, context)?;
        let mask = self.select(context, values, start);
        Told::whole(&mask).put(into);
        mask.put_values(self.coding, values, into);
        mask.save(context);
        Ok(())
    }

    fn decode(&mut self, context: &Context, message: &Message, start: &Vector) -> Result<Vector, PolicyError> {
        if context.direction == Direction::Upload {
            let mask = Mask::held(NAME, context, self.values)?;
            return mask.take_values(self.coding, message, Vector::new(self.values));
        }
        let mask = Told::take(NAME, context, message, self.values)?;
        let (found, expected) = (mask.count(), self.count(context));
        if found != expected {
            return Err(PolicyError::BadMessage(format!("a mask of {found} coordinates found, {expected} expected")));
        }
        let weights = mask.take_values(self.coding, message, self.reference.outside(start))?;
        mask.save(context);
        Ok(weights)
    }
}

impl Planning for FederatedSelect {
    fn plan(&mut self, context: &Context, _: &Vector, _: &Vector) -> Result<TrainingPlan, PolicyError> {
        Mask::held(NAME, context, self.values).map(Mask::plan)
    }
}

/// The component.
pub type Component = cellm_plugin::Exported<FederatedSelect>;
cellm_plugin::export_compressor!(Component);
cellm_plugin::export_planning!(Component);

#[cfg(test)]
mod tests;
