//! The body of a masked policy: values at the mask's coordinates down and up, training held to it.

use cellm_plugin::{
    Context, Direction, Layout, Message, Options, PolicyError, Settings, TrainingPlan, ValueCoding, Vector,
    value_coding,
};

use crate::{Mask, Reference, Told, needs_weights};

/// A masked policy's options, beside when its mask changes; the mask itself lies in memory.
pub struct Masked {
    /// The policy's name, for errors.
    policy: &'static str,
    /// Number of the adapter's coordinates.
    pub values: u32,
    /// By what the mask is chosen.
    pub reference: Reference,
    coding: ValueCoding,
}

impl Masked {
    /// The body of the policy of this name, which declares [`Reference::option`].
    ///
    /// # Errors
    /// Bits that no coding of values has; the option is not declared.
    pub fn new(
        policy: &'static str,
        layout: &Layout,
        settings: Settings,
        options: &Options,
    ) -> Result<Self, PolicyError> {
        let (coding, reference) = (value_coding(settings.bits)?, Reference::read(options)?);
        Ok(Self { policy, values: layout.values, reference, coding })
    }

    /// Puts the values at the mask's coordinates: of an upload, those of the mask that came with the download; of a download,
    /// those of the mask that `settle` chooses, tells and saves.
    ///
    /// # Errors
    /// A download of differences; an upload without a download; what `settle` refuses.
    pub fn encode(
        &self,
        context: &Context,
        values: &Vector,
        into: &Message,
        settle: impl FnOnce() -> Result<Mask, PolicyError>,
    ) -> Result<(), PolicyError> {
        let mask = if context.direction == Direction::Upload {
            self.held(context)?
        } else {
            needs_weights(self.policy, context)?;
            settle()?
        };
        mask.put_values(self.coding, values, into);
        Ok(())
    }

    /// Takes the values that `encode` put, and keeps the mask that a download tells; it must have `count` coordinates.
    ///
    /// # Errors
    /// A message of another form; an upload without a download.
    pub fn decode(
        &self,
        context: &Context,
        message: &Message,
        start: &Vector,
        count: u32,
    ) -> Result<Vector, PolicyError> {
        if context.direction == Direction::Upload {
            return self.held(context)?.take_values(self.coding, message, Vector::new(self.values));
        }
        let mask = Told::take(self.policy, context, message, self.values)?;
        mask.must_have(count)?;
        let weights = mask.take_values(self.coding, message, self.reference.outside(start))?;
        mask.save(context);
        Ok(weights)
    }

    /// The plan of local training: the mask's coordinates.
    ///
    /// # Errors
    /// No download came before.
    pub fn plan(&self, context: &Context) -> Result<TrainingPlan, PolicyError> {
        self.held(context).map(Mask::plan)
    }

    /// The mask that a catch-up tells.
    ///
    /// # Errors
    /// A message of another form.
    pub fn catch_up(&self, context: &Context, message: &Message) -> Result<Mask, PolicyError> {
        Told::catch_up(self.policy, context, message, self.values)
    }

    /// The mask in the memory at hand, if there is one.
    ///
    /// # Errors
    /// The memory is damaged.
    pub fn load(&self, context: &Context) -> Result<Option<Mask>, PolicyError> {
        Mask::load(context, self.values)
    }

    fn held(&self, context: &Context) -> Result<Mask, PolicyError> {
        Mask::held(self.policy, context, self.values)
    }
}
