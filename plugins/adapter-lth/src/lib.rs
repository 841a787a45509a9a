//! `adapter-lth`: the baseline of that name of CELLM and FLASC (arXiv 2407.20557, arXiv 2406.05233, reference code's
//! `dl-density-decay` with `client-freeze`), after the lottery ticket hypothesis for adapters (Wu and Chen 2022) and for
//! networks (Frankle and Carbin 2019, arXiv 1803.03635): iterative magnitude pruning, without rewinding.
//!
//! The mask starts as everything and shrinks to the `keep` largest of what it has, every `every` rounds, until it has the
//! density. Down, up and local training are held to it. A shrink travels as the positions that stay among those present
//! (0.72 bits each at `keep` 0.8); a client that missed some gets them by the catching-up hook. Values carry no index.
//!
//! The papers rank `|W|` and leave zero outside (`reference = zero`); `seeded` ranks `|W - W0|` and leaves `W0`. The
//! reference code prunes afresh from all coordinates each time; here what was dropped stays dropped.

mod history;
mod schedule;

use cellm_masks::{Mask, Masked, Reference, Told};
use cellm_plugin::{
    Capabilities, CatchingUp, Compressor, Context, Description, IndexSet, Layout, Message, Options, Planning, Policy,
    PolicyError, Settings, TrainingPlan, Vector, bad_option, option,
};

use history::History;
use schedule::Schedule;

const NAME: &str = "adapter-lth";

/// The policy; its mask lies in memory.
pub struct AdapterLth {
    body: Masked,
    schedule: Schedule,
}

impl AdapterLth {
    fn count(&self, context: &Context) -> u32 {
        self.schedule.count(context.round, context.density, self.body.values)
    }

    /// The mask of a download, told and kept.
    fn settle(&self, context: &Context, weights: &Vector, start: &Vector, into: &Message) -> Result<Mask, PolicyError> {
        self.schedule.check(context.density)?;
        let held = self.body.load(context)?;
        let first = held.is_none();
        let held = held.unwrap_or_else(|| Mask::all(self.body.values, context.round));
        if self.count(context) < held.count() {
            return self.shrink(context, &held, weights, start, into);
        }
        if held.at().is_none() {
            Told::All.put(into)
        } else {
            Told::Same.put(into)
        }
        if first {
            held.save(context);
        }
        Ok(held)
    }

    /// Drops the smallest of what the mask has.
    fn shrink(
        &self,
        context: &Context,
        held: &Mask,
        weights: &Vector,
        start: &Vector,
        into: &Message,
    ) -> Result<Mask, PolicyError> {
        let scores = self.body.reference.scores(weights, start);
        let present = held.at().map_or_else(|| scores.copy(), |at| scores.gather(at));
        let stay = present.top_k(0, held.count(), self.count(context));
        Told::Stay(&stay).put(into);
        let mask = held.thinned(&stay, context.round)?;
        let mut history = History::load(context, self.body.values)?;
        history.shrink(held, &mask, context.round)?;
        history.save(context);
        mask.save(context);
        Ok(mask)
    }
}

impl Policy for AdapterLth {
    fn describe() -> Description {
        Description {
            name: NAME.into(),
            version: env!("CARGO_PKG_VERSION").into(),
            about: "Prunes step by step: the mask keeps the largest of what it has until it has shrunk to the density."
                .into(),
            capabilities: Capabilities::STATEFUL_CLIENT | Capabilities::CHANGES_LAYOUT | Capabilities::LINEAR,
            options: vec![
                option::share("keep", 0.8, "Share of the mask that stays at a shrink; 1 never shrinks."),
                option::count("every", 2, "Rounds from one shrink to the next, 1 at least."),
                Reference::option(),
            ],
        }
    }
}

impl Compressor for AdapterLth {
    fn new(layout: Layout, settings: Settings, options: &Options) -> Result<Self, PolicyError> {
        let every = options.count("every")?;
        if every == 0 {
            return Err(bad_option("every", every, "1 or more"));
        }
        let body = Masked::new(NAME, &layout, settings, options)?;
        Ok(Self { body, schedule: Schedule { keep: options.number("keep")?, every } })
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

impl Planning for AdapterLth {
    fn plan(&mut self, context: &Context, _: &Vector, _: &Vector) -> Result<TrainingPlan, PolicyError> {
        self.body.plan(context)
    }
}

impl CatchingUp for AdapterLth {
    fn encode_catch_up(&mut self, context: &Context, into: &Message) -> Result<bool, PolicyError> {
        let history = History::load(context, self.body.values)?;
        let Some((stay, present)) = history.missed(context.last_seen.unwrap_or(0), context.round) else {
            return Ok(false);
        };
        let stay = IndexSet::from_list(present, &stay).map_err(PolicyError::Other)?;
        Told::Stay(&stay).put(into);
        Ok(true)
    }

    fn decode_catch_up(&mut self, context: &Context, message: &Message) -> Result<(), PolicyError> {
        self.body.catch_up(context, message).map(|mask| mask.save(context))
    }
}

/// The component.
pub type Component = cellm_plugin::Exported<AdapterLth>;
cellm_plugin::export_compressor!(Component);
cellm_plugin::export_planning!(Component);
cellm_plugin::export_catching_up!(Component);

#[cfg(test)]
mod tests;
