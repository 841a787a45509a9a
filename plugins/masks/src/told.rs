//! The mask in a download: a first byte, and the coordinates where they are news.

use cellm_plugin::{Context, IndexSet, Message, PolicyError};

use crate::Mask;

/// A message's statement about the mask.
pub enum Told<'a> {
    /// It is all coordinates.
    All,
    /// It is these coordinates, whatever was before.
    Whole(&'a IndexSet),
    /// It is what the receiver has.
    Same,
    /// Of what the receiver has, the coordinates at these positions stay.
    Stay(&'a IndexSet),
}

const ALL: u8 = 0;
const WHOLE: u8 = 1;
const SAME: u8 = 2;
const STAY: u8 = 3;

impl Told<'_> {
    /// Tells a mask whole, whatever the receiver has.
    pub fn whole(mask: &Mask) -> Told<'_> {
        mask.at().map_or(Told::All, Told::Whole)
    }

    /// Puts it into the message.
    pub fn put(&self, into: &Message) {
        match self {
            Told::All => into.put_bytes(&[ALL]),
            Told::Same => into.put_bytes(&[SAME]),
            Told::Whole(at) => {
                into.put_bytes(&[WHOLE]);
                into.put_indices(at);
            }
            Told::Stay(positions) => {
                into.put_bytes(&[STAY]);
                into.put_indices(positions);
            }
        }
    }

    /// The mask that a broadcast tells to a receiver with the memory at hand. Saves nothing.
    pub fn take(policy: &str, context: &Context, message: &Message, space: u32) -> Result<Mask, PolicyError> {
        Self::take_since(policy, context, message, space, context.round)
    }

    /// The mask that a catch-up tells: the one that held before the broadcast of the round.
    pub fn catch_up(policy: &str, context: &Context, message: &Message, space: u32) -> Result<Mask, PolicyError> {
        Self::take_since(policy, context, message, space, context.round.saturating_sub(1))
    }

    fn take_since(
        policy: &str,
        context: &Context,
        message: &Message,
        space: u32,
        since: u32,
    ) -> Result<Mask, PolicyError> {
        let found = message.take_bytes()?;
        match found.as_slice() {
            [ALL] => Ok(Mask::all(space, since)),
            [WHOLE] => Ok(Mask::of(message.take_indices(space)?, since)),
            [SAME] => Mask::held(policy, context, space),
            [STAY] => match Mask::load(context, space)? {
                // The server decodes what it told itself, to evaluate: its memory is past the change.
                Some(held) if held.since() == context.round => {
                    message.take_indices(held.before())?;
                    Ok(held)
                }
                Some(held) => held.thinned(&message.take_indices(held.count())?, since),
                None => Mask::all(space, 0).thinned(&message.take_indices(space)?, since),
            },
            other => {
                Err(PolicyError::BadMessage(format!("mask told by bytes {other:?} found, one of 0 to 3 expected")))
            }
        }
    }
}
