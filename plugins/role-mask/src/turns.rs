//! The download of the schemes in which A and B take turns: a broadcast has only the ranks that changed, of the factor
//! that was trained last; the rest every client has in its memory, or gets by the catching-up hook.
//!
//! Memory of the server, a tier each: `sent.TIER`, what was last sent of every coordinate, and `stamps.TIER`, for every
//! rank of A, then of B, the round that sent it last. Memory of a client: `view.TIER`, what it has.

use cellm_plugin::{
    Context, IndexSet, Message, PolicyError, ValueCoding, Vector, forget, load, load_bytes, save, save_bytes,
};

use crate::pairs::Pairs;
use crate::parts::Parts;
use crate::scheme::{Part, Scheme};

const BOTH: [Part; 2] = [Part::A, Part::B];

/// The inputs of a download's hooks.
pub struct Turns<'a> {
    /// The run's scheme, one that alternates.
    pub scheme: Scheme,
    /// Coding of the values.
    pub coding: ValueCoding,
    /// The layout by role.
    pub parts: &'a Parts,
    /// The layout by rank.
    pub pairs: &'a Pairs,
}

impl Turns<'_> {
    /// Puts what changed since the last broadcast. The first one has both factors, as far as they differ from the start.
    pub fn encode(
        &self,
        context: &Context,
        values: &Vector,
        start: &Vector,
        into: &Message,
    ) -> Result<(), PolicyError> {
        let known = load(&key("sent", context));
        let last = self.scheme.returns(context.round.saturating_sub(1));
        let changed = if known.is_some() { vec![last] } else { BOTH.into() };
        let sent = known.unwrap_or_else(|| start.copy());
        let moved = values.copy();
        moved.axpy(-1.0, &sent);
        let mut stamps = self.stamps(context)?;
        into.put_bytes(&changed.iter().map(|part| code(*part)).collect::<Vec<u8>>());
        for part in changed {
            let ranks = self.pairs.norms(part, &moved).nonzero();
            let at = self.pairs.coordinates(part, &ranks)?;
            let news = values.gather(&at);
            into.put_indices(&ranks);
            into.put_values(self.coding, &news);
            sent.scatter(&at, &news);
            for rank in ranks.read(0, ranks.count()) {
                stamps[self.place(part, rank)] = context.round;
            }
        }
        into.put_values(self.coding, &values.gather(&self.parts.others));
        save(&key("sent", context), &sent);
        save_bytes(&key("stamps", context), &bytes_of(&stamps));
        Ok(())
    }

    /// The client's start: its own values, the catch-up's over them, and the broadcast's over those.
    pub fn decode(&self, context: &Context, message: &Message, start: &Vector) -> Result<Vector, PolicyError> {
        // The server that decodes its own broadcast, to evaluate, has what it sent and needs no view beside it.
        let sent = load(&key("sent", context));
        let is_server = sent.is_some();
        let view = sent.or_else(|| load(&key("view", context))).unwrap_or_else(|| start.copy());
        for part in BOTH {
            self.bring_in(context, part, &view)?;
        }
        for code in message.take_bytes()? {
            let part = part(code)?;
            let (ranks, news) = self.take(part, message)?;
            view.scatter(&self.pairs.coordinates(part, &ranks)?, &news);
        }
        let others = message.take_values(self.coding, self.parts.others.count())?;
        view.scatter(&self.parts.others, &others);
        if !is_server {
            save(&key("view", context), &view);
        }
        Ok(view)
    }

    /// Puts the ranks that were sent after the client was last seen and are not in this round's broadcast.
    pub fn encode_catch_up(&self, context: &Context, into: &Message) -> Result<bool, PolicyError> {
        let Some(sent) = load(&key("sent", context)) else { return Ok(false) };
        let stamps = self.stamps(context)?;
        let seen = context.last_seen.unwrap_or(0);
        let missed = |part| {
            let is_missed = |rank: &u32| (seen + 1..context.round).contains(&stamps[self.place(part, *rank)]);
            let ranks: Vec<u32> = (0..self.pairs.ranks()).filter(is_missed).collect();
            IndexSet::from_list(self.pairs.ranks(), &ranks).map_err(PolicyError::Other)
        };
        let missed = [missed(Part::A)?, missed(Part::B)?];
        if missed.iter().all(|ranks| ranks.count() == 0) {
            return Ok(false);
        }
        for (part, ranks) in BOTH.into_iter().zip(&missed) {
            into.put_indices(ranks);
            into.put_values(self.coding, &sent.gather(&self.pairs.coordinates(part, ranks)?));
        }
        Ok(true)
    }

    /// Lays what was missed aside until the broadcast is decoded, which knows the start.
    pub fn decode_catch_up(&self, message: &Message) -> Result<(), PolicyError> {
        for part in BOTH {
            let (ranks, news) = self.take(part, message)?;
            save_bytes(aside(part), &bytes_of(&ranks.read(0, ranks.count())));
            save(aside(part), &news);
        }
        Ok(())
    }

    /// Writes what was laid aside into the view.
    fn bring_in(&self, context: &Context, part: Part, view: &Vector) -> Result<(), PolicyError> {
        let (Some(ranks), Some(news)) = (load_bytes(aside(part)), load(aside(part))) else { return Ok(()) };
        let ranks = IndexSet::from_list(self.pairs.ranks(), &numbers_of(&ranks)).map_err(PolicyError::Other)?;
        let at = self.pairs.coordinates(part, &ranks)?;
        if at.count() != news.len() {
            let (key, round, found, expected) = (aside(part), context.round, news.len(), at.count());
            let what = format!("memory entry {key} in round {round}: {found} values found, {expected} expected");
            return Err(PolicyError::Other(what));
        }
        view.scatter(&at, &news);
        forget(aside(part));
        Ok(())
    }

    /// The next ranks of a message and the values at their coordinates.
    fn take(&self, part: Part, message: &Message) -> Result<(IndexSet, Vector), PolicyError> {
        let ranks = message.take_indices(self.pairs.ranks())?;
        let count = self.pairs.coordinates(part, &ranks)?.count();
        Ok((ranks, message.take_values(self.coding, count)?))
    }

    /// Place of a rank's stamp.
    fn place(&self, part: Part, rank: u32) -> usize {
        let first = if part == Part::A { 0 } else { self.pairs.ranks() };
        (first + rank) as usize
    }

    fn stamps(&self, context: &Context) -> Result<Vec<u32>, PolicyError> {
        let expected = 2 * self.pairs.ranks() as usize;
        let Some(bytes) = load_bytes(&key("stamps", context)) else { return Ok(vec![0; expected]) };
        let stamps = numbers_of(&bytes);
        if stamps.len() != expected {
            let (key, found) = (key("stamps", context), stamps.len());
            return Err(PolicyError::Other(format!("memory entry {key}: {found} stamps found, {expected} expected")));
        }
        Ok(stamps)
    }
}

fn key(what: &str, context: &Context) -> String {
    format!("{what}.{}", context.tier)
}

/// Key under which a client lays aside what it caught up on.
fn aside(part: Part) -> &'static str {
    match part {
        Part::A => "caught.a",
        Part::B => "caught.b",
    }
}

fn code(part: Part) -> u8 {
    match part {
        Part::A => 0,
        Part::B => 1,
    }
}

fn part(code: u8) -> Result<Part, PolicyError> {
    match code {
        0 => Ok(Part::A),
        1 => Ok(Part::B),
        other => Err(PolicyError::BadMessage(format!("factor {other} found, 0 (A) or 1 (B) expected"))),
    }
}

fn bytes_of(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

fn numbers_of(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks_exact(4).filter_map(|four| four.try_into().ok().map(u32::from_le_bytes)).collect()
}
