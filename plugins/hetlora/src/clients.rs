//! The clients' side: a tier is sent its first directions and starts from zero in the others, as if its adapter had no more;
//! it sends the same directions back.

use cellm_plugin::{
    Compressor, Context, Layout, Message, Options, PolicyError, Settings, ValueCoding, Vector, value_coding,
};

use crate::HetLora;
use crate::truncation::Truncation;

/// The settings of messages.
pub struct Messages {
    values: u32,
    coding: ValueCoding,
    truncation: Truncation,
}

impl Messages {
    fn encode(&mut self, rank: u32, values: &Vector, into: &Message) -> Result<(), PolicyError> {
        match self.truncation.of(rank)? {
            None => into.put_values(self.coding, values),
            Some(kept) => into.put_values(self.coding, &values.gather(kept)),
        }
        Ok(())
    }

    fn decode(&mut self, rank: u32, message: &Message) -> Result<Vector, PolicyError> {
        let Some(kept) = self.truncation.of(rank)? else {
            return message.take_values(self.coding, self.values);
        };
        let whole = Vector::new(self.values);
        whole.scatter(kept, &message.take_values(self.coding, kept.count())?);
        Ok(whole)
    }
}

impl Compressor for HetLora {
    fn new(layout: Layout, settings: Settings, _: &Options) -> Result<Self, PolicyError> {
        let (values, coding) = (layout.values, value_coding(settings.bits)?);
        Ok(Self::Messages(Messages { values, coding, truncation: Truncation::new(&layout)? }))
    }

    fn encode(&mut self, context: &Context, values: &Vector, _: &Vector, into: &Message) -> Result<(), PolicyError> {
        self.messages()?.encode(context.rank, values, into)
    }

    fn decode(&mut self, context: &Context, message: &Message, _: &Vector) -> Result<Vector, PolicyError> {
        self.messages()?.decode(context.rank, message)
    }
}
