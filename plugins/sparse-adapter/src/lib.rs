//! `sparse-adapter`: the baseline of that name of CELLM and FLASC (arXiv 2407.20557, arXiv 2406.05233, reference code's
//! `server-freeze` with `client-freeze`), after SparseAdapter (He et al. 2022, arXiv 2210.04284).
//!
//! After `dense_rounds` dense rounds the mask of the k largest coordinates is chosen, once. From then on down, up and
//! local training are held to it. Its coordinates travel with the broadcast of the round that chooses it, or by the
//! catching-up hook to a client that missed that round; every other message has k values and no index.
//!
//! The papers rank `|W|` and leave zero outside (`reference = zero`); `seeded` ranks `|W - W0|` and leaves `W0`.

use cellm_masks::{Mask, Reference, Told, needs_weights};
use cellm_plugin::{
    Capabilities, CatchingUp, Compressor, Context, Description, Direction, Layout, Message, Options, Planning, Policy,
    PolicyError, Settings, TrainingPlan, ValueCoding, Vector, kept, option, value_coding,
};

const NAME: &str = "sparse-adapter";

/// What the options settle; the mask lies in memory.
pub struct SparseAdapter {
    values: u32,
    coding: ValueCoding,
    dense_rounds: u32,
    reference: Reference,
}

impl SparseAdapter {
    /// Whether the mask was chosen in an earlier round, so that the receivers have it.
    fn is_known(&self, mask: &Mask, context: &Context) -> bool {
        mask.since() > self.dense_rounds && mask.since() < context.round
    }

    /// The mask of a download, put into the message and into the server's memory.
    fn settle(&self, context: &Context, weights: &Vector, start: &Vector, into: &Message) -> Result<Mask, PolicyError> {
        if let Some(mask) = Mask::load(context, self.values)?.filter(|mask| self.is_known(mask, context)) {
            Told::Same.put(into);
            return Ok(mask);
        }
        let count = self.count(context);
        let mask = if count == self.values {
            Mask::all(self.values, context.round)
        } else {
            Mask::of(self.reference.largest(weights, start, count), context.round)
        };
        Told::whole(&mask).put(into);
        mask.save(context);
        Ok(mask)
    }

    /// How many coordinates a round has.
    fn count(&self, context: &Context) -> u32 {
        if context.round <= self.dense_rounds { self.values } else { kept(context, self.values) }
    }

    fn check(&self, context: &Context, mask: &Mask) -> Result<(), PolicyError> {
        let (found, expected) = (mask.count(), self.count(context));
        if found == expected {
            return Ok(());
        }
        Err(PolicyError::BadMessage(format!("a mask of {found} coordinates found, {expected} expected")))
    }
}

impl Policy for SparseAdapter {
    fn describe() -> Description {
        Description {
            name: NAME.into(),
            version: env!("CARGO_PKG_VERSION").into(),
            about: "After a dense start, one mask of the largest weights for the whole run: values only on the wire."
                .into(),
            capabilities: Capabilities::STATEFUL_CLIENT | Capabilities::CHANGES_LAYOUT | Capabilities::LINEAR,
            options: vec![
                option::count("dense_rounds", 1, "Rounds in which everything is sent, before the mask is chosen."),
                Reference::option(),
            ],
        }
    }
}

impl Compressor for SparseAdapter {
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
        let mask = if context.direction == Direction::Upload {
            Mask::held(NAME, context, self.values)?
        } else {
            needs_weights(NAME, context)?;
            self.settle(context, values, start, into)?
        };
        mask.put_values(self.coding, values, into);
        Ok(())
    }

    fn decode(&mut self, context: &Context, message: &Message, start: &Vector) -> Result<Vector, PolicyError> {
        if context.direction == Direction::Upload {
            let mask = Mask::held(NAME, context, self.values)?;
            return mask.take_values(self.coding, message, Vector::new(self.values));
        }
        let mask = Told::take(NAME, context, message, self.values)?;
        self.check(context, &mask)?;
        let weights = mask.take_values(self.coding, message, self.reference.outside(start))?;
        mask.save(context);
        Ok(weights)
    }
}

impl Planning for SparseAdapter {
    fn plan(&mut self, context: &Context, _: &Vector, _: &Vector) -> Result<TrainingPlan, PolicyError> {
        Mask::held(NAME, context, self.values).map(Mask::plan)
    }
}

impl CatchingUp for SparseAdapter {
    fn encode_catch_up(&mut self, context: &Context, into: &Message) -> Result<bool, PolicyError> {
        let Some(mask) = Mask::load(context, self.values)?.filter(|mask| self.is_known(mask, context)) else {
            return Ok(false);
        };
        let needed = context.last_seen.is_none_or(|seen| seen < mask.since());
        if needed {
            Told::whole(&mask).put(into);
        }
        Ok(needed)
    }

    fn decode_catch_up(&mut self, context: &Context, message: &Message) -> Result<(), PolicyError> {
        let mask = Told::catch_up(NAME, context, message, self.values)?;
        self.check(context, &mask)?;
        mask.save(context);
        Ok(())
    }
}

/// The component.
pub type Component = cellm_plugin::Exported<SparseAdapter>;
cellm_plugin::export_compressor!(Component);
cellm_plugin::export_planning!(Component);
cellm_plugin::export_catching_up!(Component);

#[cfg(test)]
mod tests;
