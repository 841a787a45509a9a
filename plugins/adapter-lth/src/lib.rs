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

use cellm_masks::{Mask, Reference, Told, needs_weights};
use cellm_plugin::{
    Capabilities, CatchingUp, Compressor, Context, Description, Direction, IndexSet, Layout, Message, Options,
    Planning, Policy, PolicyError, Settings, TrainingPlan, ValueCoding, Vector, bad_option, option, value_coding,
};

use history::History;
use schedule::Schedule;

const NAME: &str = "adapter-lth";

/// What the options settle; the mask lies in memory.
pub struct AdapterLth {
    values: u32,
    coding: ValueCoding,
    schedule: Schedule,
    reference: Reference,
}

impl AdapterLth {
    fn count(&self, context: &Context) -> u32 {
        self.schedule.count(context.round, context.density, self.values)
    }

    /// The mask of a download, told and kept.
    fn settle(&self, context: &Context, weights: &Vector, start: &Vector, into: &Message) -> Result<Mask, PolicyError> {
        let held = Mask::load(context, self.values)?;
        let first = held.is_none();
        let held = held.unwrap_or_else(|| Mask::all(self.values, context.round));
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
        let scores = self.reference.scores(weights, start);
        let present = held.at().map_or_else(|| scores.copy(), |at| scores.gather(at));
        let stay = present.top_k(0, held.count(), self.count(context));
        Told::Stay(&stay).put(into);
        let mask = held.thinned(&stay, context.round)?;
        let mut history = History::load(context, self.values)?;
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
        Ok(Self {
            values: layout.values,
            coding: value_coding(settings.bits)?,
            schedule: Schedule { keep: options.number("keep")?, every },
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
            self.schedule.check(context.density)?;
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
        let (found, expected) = (mask.count(), self.count(context));
        if found != expected {
            return Err(PolicyError::BadMessage(format!("a mask of {found} coordinates found, {expected} expected")));
        }
        let weights = mask.take_values(self.coding, message, self.reference.outside(start))?;
        mask.save(context);
        Ok(weights)
    }
}

impl Planning for AdapterLth {
    fn plan(&mut self, context: &Context, _: &Vector, _: &Vector) -> Result<TrainingPlan, PolicyError> {
        Mask::held(NAME, context, self.values).map(Mask::plan)
    }
}

impl CatchingUp for AdapterLth {
    fn encode_catch_up(&mut self, context: &Context, into: &Message) -> Result<bool, PolicyError> {
        let history = History::load(context, self.values)?;
        let Some((stay, present)) = history.missed(context.last_seen.unwrap_or(0), context.round) else {
            return Ok(false);
        };
        let stay = IndexSet::from_list(present, &stay).map_err(PolicyError::Other)?;
        Told::Stay(&stay).put(into);
        Ok(true)
    }

    fn decode_catch_up(&mut self, context: &Context, message: &Message) -> Result<(), PolicyError> {
        Told::catch_up(NAME, context, message, self.values).map(|mask| mask.save(context))
    }
}

/// The component.
pub type Component = cellm_plugin::Exported<AdapterLth>;
cellm_plugin::export_compressor!(Component);
cellm_plugin::export_planning!(Component);
cellm_plugin::export_catching_up!(Component);

#[cfg(test)]
mod tests;
