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

use cellm_masks::{Mask, Masked, Reference, Told};
use cellm_plugin::{
    Capabilities, Compressor, Context, Description, Layout, Message, Options, Planning, Policy, PolicyError, Settings,
    TrainingPlan, Vector, kept, option,
};

const NAME: &str = "federated-select";

/// The policy; the mask of the round lies in memory.
pub struct FederatedSelect {
    body: Masked,
    dense_rounds: u32,
}

impl FederatedSelect {
    /// Number of coordinates that a round works on.
    fn count(&self, context: &Context) -> u32 {
        if context.round <= self.dense_rounds { self.body.values } else { kept(context, self.body.values) }
    }

    /// The mask of a download, told and kept.
    fn select(&self, context: &Context, weights: &Vector, start: &Vector, into: &Message) -> Mask {
        let count = self.count(context);
        let mask = if count == self.body.values {
            Mask::all(self.body.values, context.round)
        } else {
            Mask::of(self.body.reference.largest(weights, start, count), context.round)
        };
        Told::whole(&mask).put(into);
        mask.save(context);
        mask
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
        self.body.encode(context, values, into, || Ok(self.select(context, values, start, into)))
    }

    fn decode(&mut self, context: &Context, message: &Message, start: &Vector) -> Result<Vector, PolicyError> {
        self.body.decode(context, message, start, self.count(context))
    }
}

impl Planning for FederatedSelect {
    fn plan(&mut self, context: &Context, _: &Vector, _: &Vector) -> Result<TrainingPlan, PolicyError> {
        self.body.plan(context)
    }
}

/// The component.
pub type Component = cellm_plugin::Exported<FederatedSelect>;
cellm_plugin::export_compressor!(Component);
cellm_plugin::export_planning!(Component);

#[cfg(test)]
mod tests;
