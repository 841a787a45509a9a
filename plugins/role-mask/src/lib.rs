//! `role-mask`: trains and sends LoRA's A, its B, or one after the other, so that the mean of the clients' products is (or
//! is nearly) the product of the means. What is neither A nor B (a head) is always trained and sent. Four schemes:
//!
//! - `ffa-lora` (Sun et al. 2024, arXiv 2403.12313): A stays at its seed, B is trained and sent both ways. No state.
//! - `rolora` (Chen et al. 2025, arXiv 2502.01755): B in odd rounds, A in even ones. The upload has the factor that was
//!   trained. The broadcast has the factor that the round before changed; the other one is in the client's memory, and
//!   who missed rounds is sent what it lacks by the catching-up hook. Where clients come rarely, nearly all lack half:
//!   there `download.policy = "dense"` costs the same and needs no memory; the upload works with any download.
//! - `fedsa` (Guo et al. 2024, arXiv 2410.01463): both are trained, A is shared, B stays in the client's memory.
//!   **Evaluation**: the server never sees a B. Its own stays at the start, zero, so the global evaluation reads the base
//!   model (and the head). The method is personal: judge it by the clients' training loss.
//! - `lora-a2` (Koo et al. 2024, arXiv 2410.22815): as `rolora`, and of the trained factor the upload has the `density`
//!   of the ranks that contributed most. The broadcast has the ranks that changed.
//!
//! A server optimizer with momentum also moves the factor that was not trained; `rolora` and `lora-a2` show clients that
//! drift with the next broadcast of the factor.

mod contribution;
mod pairs;
mod parts;
mod personal;
mod scheme;
mod turns;

use cellm_plugin::{
    Capabilities, CatchingUp, Compressor, Content, Context, Description, Direction, IndexSet, Layout, Message, Options,
    Planning, Policy, PolicyError, Settings, TrainingPlan, ValueCoding, Vector, option, value_coding,
};

use contribution::Pool;
use pairs::Pairs;
use parts::Parts;
use scheme::{Part, Scheme};
use turns::Turns;

/// The policy's layout and options.
pub struct RoleMask {
    values: u32,
    coding: ValueCoding,
    scheme: Scheme,
    pool: Pool,
    parts: Parts,
    pairs: Pairs,
}

impl RoleMask {
    fn turns(&self) -> Turns<'_> {
        Turns { scheme: self.scheme, coding: self.coding, parts: &self.parts, pairs: &self.pairs }
    }

    /// True where downloads go by what clients remember.
    fn takes_turns(&self, context: &Context) -> bool {
        self.scheme.alternates() && context.content == Content::Weights
    }

    fn encode_download(
        &self,
        context: &Context,
        values: &Vector,
        start: &Vector,
        into: &Message,
    ) -> Result<(), PolicyError> {
        if self.takes_turns(context) {
            return self.turns().encode(context, values, start, into);
        }
        match self.scheme {
            Scheme::FfaLora => self.check_frozen(context, values, start)?,
            Scheme::Fedsa => refuse_difference(context)?,
            // What the reference lacks of the other factor stays in the difference until its turn.
            Scheme::Rolora | Scheme::LoraA2 => {}
        }
        self.put(self.scheme.returns(context.round.saturating_sub(1)), values, into);
        Ok(())
    }

    fn decode_download(&self, context: &Context, message: &Message, start: &Vector) -> Result<Vector, PolicyError> {
        if self.takes_turns(context) {
            return self.turns().decode(context, message, start);
        }
        let onto = if context.content == Content::Difference { Vector::new(self.values) } else { start.copy() };
        let weights = self.take(self.scheme.returns(context.round.saturating_sub(1)), message, onto)?;
        if self.scheme == Scheme::Fedsa {
            personal::put_back(&self.parts, &weights, start);
        }
        Ok(weights)
    }

    fn encode_upload(
        &self,
        context: &Context,
        delta: &Vector,
        start: &Vector,
        into: &Message,
    ) -> Result<(), PolicyError> {
        let part = self.scheme.returns(context.round);
        if self.scheme == Scheme::Fedsa {
            personal::keep(&self.parts, delta, start);
        }
        if self.scheme != Scheme::LoraA2 {
            self.put(part, delta, into);
            return Ok(());
        }
        let ranks = contribution::choose(&self.pairs, self.pool, part, context, delta)?;
        into.put_indices(&ranks);
        into.put_values(self.coding, &delta.gather(&self.pairs.coordinates(part, &ranks)?));
        into.put_values(self.coding, &delta.gather(&self.parts.others));
        Ok(())
    }

    fn decode_upload(&self, context: &Context, message: &Message) -> Result<Vector, PolicyError> {
        let (part, delta) = (self.scheme.returns(context.round), Vector::new(self.values));
        if self.scheme != Scheme::LoraA2 {
            return self.take(part, message, delta);
        }
        let ranks = message.take_indices(self.pairs.ranks())?;
        let (found, expected) = (ranks.count(), self.pool.count(&self.pairs, context.density));
        if found != expected {
            return Err(PolicyError::BadMessage(format!("{found} ranks found, {expected} expected")));
        }
        let at = self.pairs.coordinates(part, &ranks)?;
        delta.scatter(&at, &message.take_values(self.coding, at.count())?);
        delta.scatter(&self.parts.others, &message.take_values(self.coding, self.parts.others.count())?);
        Ok(delta)
    }

    /// All values of a factor and what is neither.
    fn put(&self, part: Part, values: &Vector, into: &Message) {
        into.put_values(self.coding, &values.gather(self.parts.with_others(part)));
    }

    fn take(&self, part: Part, message: &Message, onto: Vector) -> Result<Vector, PolicyError> {
        let at = self.parts.with_others(part);
        onto.scatter(at, &message.take_values(self.coding, at.count())?);
        Ok(onto)
    }

    /// Clients take A from its seed, so the server's must lie there.
    fn check_frozen(&self, context: &Context, values: &Vector, start: &Vector) -> Result<(), PolicyError> {
        let moved = values.gather(&self.parts.a);
        if context.content != Content::Difference {
            moved.axpy(-1.0, &start.gather(&self.parts.a));
        }
        let norm = moved.norm();
        if norm == 0.0 {
            return Ok(());
        }
        Err(PolicyError::Other(format!(
            "the server's A lies {norm:e} from its seed, 0 expected: with ffa-lora upload.policy must be role-mask too, \
             and the run must begin at the seeded start"
        )))
    }
}

fn refuse_difference(context: &Context) -> Result<(), PolicyError> {
    if context.content != Content::Difference {
        return Ok(());
    }
    Err(PolicyError::Other(
        "fedsa puts the client's own B beside the shared A, which a download of differences does not allow: content is \
         'difference', 'weights' is needed (download.error_feedback = false)"
            .into(),
    ))
}

impl Policy for RoleMask {
    fn describe() -> Description {
        Description {
            name: "role-mask".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            about: "Trains and sends LoRA's A, its B, or one after the other: ffa-lora, rolora, fedsa, lora-a2.".into(),
            capabilities: Capabilities::STATEFUL_CLIENT | Capabilities::CHANGES_LAYOUT,
            options: vec![
                Scheme::option(),
                option::choice(
                    "pool",
                    &["all", "pair"],
                    "lora-a2: the density's share of ranks is taken from `all` pairs together, or from each `pair`.",
                ),
            ],
        }
    }
}

impl Compressor for RoleMask {
    fn new(layout: Layout, settings: Settings, options: &Options) -> Result<Self, PolicyError> {
        Ok(Self {
            values: layout.values,
            coding: value_coding(settings.bits)?,
            scheme: Scheme::read(options)?,
            pool: if options.text("pool")? == "pair" { Pool::Pair } else { Pool::All },
            parts: Parts::new(&layout)?,
            pairs: Pairs::new(&layout)?,
        })
    }

    fn encode(
        &mut self,
        context: &Context,
        values: &Vector,
        start: &Vector,
        into: &Message,
    ) -> Result<(), PolicyError> {
        match context.direction {
            Direction::Download => self.encode_download(context, values, start, into),
            Direction::Upload => self.encode_upload(context, values, start, into),
        }
    }

    fn decode(&mut self, context: &Context, message: &Message, start: &Vector) -> Result<Vector, PolicyError> {
        match context.direction {
            Direction::Download => self.decode_download(context, message, start),
            Direction::Upload => self.decode_upload(context, message),
        }
    }
}

impl Planning for RoleMask {
    fn plan(&mut self, context: &Context, received: &Vector, start: &Vector) -> Result<TrainingPlan, PolicyError> {
        let Some(part) = self.scheme.trains(context.round) else {
            personal::check(&self.parts, received, start)?;
            return Ok(TrainingPlan { trainable: None });
        };
        if self.scheme == Scheme::LoraA2 {
            contribution::remember_frozen(&self.pairs, part, received);
        }
        let none = IndexSet::runs(self.values, 0, 0, 0, 0);
        Ok(TrainingPlan { trainable: Some(self.parts.with_others(part).union(&none)) })
    }
}

impl CatchingUp for RoleMask {
    fn encode_catch_up(&mut self, context: &Context, into: &Message) -> Result<bool, PolicyError> {
        if self.takes_turns(context) { self.turns().encode_catch_up(context, into) } else { Ok(false) }
    }

    fn decode_catch_up(&mut self, _: &Context, message: &Message) -> Result<(), PolicyError> {
        self.turns().decode_catch_up(message)
    }
}

/// The component.
pub type Component = cellm_plugin::Exported<RoleMask>;
cellm_plugin::export_compressor!(Component);
cellm_plugin::export_planning!(Component);
cellm_plugin::export_catching_up!(Component);

#[cfg(test)]
mod tests;
