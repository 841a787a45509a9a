//! `sparse-adapter`: the baseline of that name of CELLM and FLASC (arXiv 2407.20557, arXiv 2406.05233, reference code's
//! `server-freeze` with `client-freeze`), after SparseAdapter (He et al. 2022, arXiv 2210.04284).
//!
//! After `dense_rounds` dense rounds the mask of the k largest coordinates is chosen, once. From then on down, up and
//! local training are held to it. Its coordinates travel with the broadcast of the round that chooses it, or by the
//! catching-up hook to a client that missed that round; every other message has k values and no index.
//!
//! The papers rank `|W|` and leave zero outside (`reference = zero`); `seeded` ranks `|W - W0|` and leaves `W0`.

use cellm_masks::{Mask, Masked, Reference, Told};
use cellm_plugin::{
    Capabilities, CatchingUp, Compressor, Context, Description, Layout, Message, Options, Planning, Policy,
    PolicyError, Settings, TrainingPlan, Vector, kept, option,
};

const NAME: &str = "sparse-adapter";

/// The policy; its mask lies in memory.
pub struct SparseAdapter {
    body: Masked,
    dense_rounds: u32,
}

impl SparseAdapter {
    /// The mask that was chosen in an earlier round, so that the receivers have it.
    fn known(&self, context: &Context) -> Result<Option<Mask>, PolicyError> {
        let known = |mask: &Mask| mask.since() > self.dense_rounds && mask.since() < context.round;
        Ok(self.body.load(context)?.filter(known))
    }

    /// The mask of a download, put into the message and into the server's memory.
    fn settle(&self, context: &Context, weights: &Vector, start: &Vector, into: &Message) -> Result<Mask, PolicyError> {
        if let Some(mask) = self.known(context)? {
            Told::Same.put(into);
            return Ok(mask);
        }
        let count = self.count(context);
        let mask = if count == self.body.values {
            Mask::all(self.body.values, context.round)
        } else {
            Mask::of(self.body.reference.largest(weights, start, count), context.round)
        };
        Told::whole(&mask).put(into);
        mask.save(context);
        Ok(mask)
    }

    /// Number of coordinates of a round.
    fn count(&self, context: &Context) -> u32 {
        if context.round <= self.dense_rounds { self.body.values } else { kept(context, self.body.values) }
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
        let body = Masked::new(NAME, &layout, settings, options)?;
        Ok(Self { body, dense_rounds: options.count("dense_rounds")? })
    }

    fn encode(
        &mut self,
        context: &Context,
        values: &Vector,
        start: &Vector,
        into: &Message,
    ) -> Result<(), PolicyError> {
        self.body.encode(context, values, into, || self.settle(context, values, start, into))
    }

    fn decode(&mut self, context: &Context, message: &Message, start: &Vector) -> Result<Vector, PolicyError> {
        self.body.decode(context, message, start, self.count(context))
    }
}

impl Planning for SparseAdapter {
    fn plan(&mut self, context: &Context, _: &Vector, _: &Vector) -> Result<TrainingPlan, PolicyError> {
        self.body.plan(context)
    }
}

impl CatchingUp for SparseAdapter {
    fn encode_catch_up(&mut self, context: &Context, into: &Message) -> Result<bool, PolicyError> {
        let Some(mask) = self.known(context)? else { return Ok(false) };
        let needed = context.last_seen.is_none_or(|seen| seen < mask.since());
        if needed {
            Told::whole(&mask).put(into);
        }
        Ok(needed)
    }

    fn decode_catch_up(&mut self, context: &Context, message: &Message) -> Result<(), PolicyError> {
        let mask = self.body.catch_up(context, message)?;
        mask.must_have(self.count(context))?;
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
