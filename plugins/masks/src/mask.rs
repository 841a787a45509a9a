//! The mask: the coordinates that down, up and local training are held to, in memory under `mask.TIER`.

use cellm_plugin::{
    Context, IndexSet, Message, Packed, PolicyError, TrainingPlan, Unpacked, ValueCoding, Vector, load_bytes,
    save_bytes,
};

use crate::bitmap;

/// Coordinates read at a time.
const CHUNK: u32 = 65_536;

/// Bytes before the bitmap in memory: since when the mask holds, and how many coordinates there were before.
const HEAD: usize = 8;

/// A mask and the round since which it holds.
pub struct Mask {
    space: u32,
    /// None stands for all coordinates, which then cost nothing to keep or tell.
    at: Option<IndexSet>,
    since: u32,
    before: u32,
}

impl Mask {
    /// All of `space` coordinates.
    pub fn all(space: u32, since: u32) -> Self {
        Self { space, at: None, since, before: space }
    }

    /// These coordinates.
    pub fn of(at: IndexSet, since: u32) -> Self {
        Self { space: at.space(), before: at.space(), at: Some(at), since }
    }

    /// Number of the adapter's coordinates, its `P`.
    pub fn space(&self) -> u32 {
        self.space
    }

    /// Number of the mask's coordinates.
    pub fn count(&self) -> u32 {
        self.at.as_ref().map_or(self.space, IndexSet::count)
    }

    /// The coordinates; none stands for all.
    pub fn at(&self) -> Option<&IndexSet> {
        self.at.as_ref()
    }

    /// The round since which it holds.
    pub fn since(&self) -> u32 {
        self.since
    }

    /// Number of coordinates of the mask that this one is a part of; [`Mask::space`] where it is a part of none.
    pub fn before(&self) -> u32 {
        self.before
    }

    /// The coordinates in order.
    pub fn indices(&self) -> Vec<u32> {
        match &self.at {
            None => (0..self.space).collect(),
            Some(at) => chunks(at.count()).flat_map(|(first, count)| at.read(first, count)).collect(),
        }
    }

    /// Those of its coordinates that stand at these positions in it: how a mask shrinks.
    ///
    /// `positions` is a set in a space of [`Mask::count`].
    pub fn thinned(&self, positions: &IndexSet, since: u32) -> Result<Self, PolicyError> {
        let present = self.indices();
        let stay = chunks(positions.count()).flat_map(|(first, count)| positions.read(first, count));
        let left: Vec<u32> = stay.filter_map(|position| present.get(position as usize).copied()).collect();
        let at = IndexSet::from_list(self.space, &left).map_err(PolicyError::BadMessage)?;
        Ok(Self { before: self.count(), ..Self::of(at, since) })
    }

    /// Refuses a mask of another number of coordinates.
    ///
    /// # Errors
    /// It has another number.
    pub fn must_have(&self, expected: u32) -> Result<(), PolicyError> {
        let found = self.count();
        if found == expected {
            return Ok(());
        }
        Err(PolicyError::BadMessage(format!("a mask of {found} coordinates found, {expected} expected")))
    }

    /// The plan of local training: the mask's coordinates.
    pub fn plan(self) -> TrainingPlan {
        TrainingPlan { trainable: self.at }
    }

    /// Puts the values at its coordinates, no indices.
    pub fn put_values(&self, coding: ValueCoding, values: &Vector, into: &Message) {
        match &self.at {
            None => into.put_values(coding, values),
            Some(at) => into.put_values(coding, &values.gather(at)),
        }
    }

    /// Takes the values at its coordinates; elsewhere lies what `outside` has.
    pub fn take_values(&self, coding: ValueCoding, message: &Message, outside: Vector) -> Result<Vector, PolicyError> {
        let values = message.take_values(coding, self.count())?;
        let Some(at) = &self.at else { return Ok(values) };
        outside.scatter(at, &values);
        Ok(outside)
    }

    /// Keeps it for the client's or the server's later hooks.
    pub fn save(&self, context: &Context) {
        let mut bytes = Packed::default().u32(self.since).u32(self.before).bytes();
        if let Some(at) = &self.at {
            bytes.resize(HEAD + bitmap::bytes_of(self.space), 0);
            for (first, count) in chunks(at.count()) {
                bitmap::set(&mut bytes[HEAD..], &at.read(first, count));
            }
        }
        save_bytes(&key(context), &bytes);
    }

    /// The mask in the memory for the context's tier.
    pub fn load(context: &Context, space: u32) -> Result<Option<Self>, PolicyError> {
        let Some(bytes) = load_bytes(&key(context)) else { return Ok(None) };
        let damaged = |what: String| PolicyError::Other(format!("memory entry {}: {what}", key(context)));
        let mut head = Unpacked::new(&bytes);
        let (since, before) = (head.u32()?, head.u32()?);
        if bytes.len() == HEAD {
            return Ok(Some(Self { before, ..Self::all(space, since) }));
        }
        let at = bitmap::indices(&bytes[HEAD..], space).and_then(|indices| IndexSet::from_list(space, &indices));
        at.map(|at| Some(Self { before, ..Self::of(at, since) })).map_err(damaged)
    }

    /// The mask in the memory, which must have one: uploads go by the mask that came with the download.
    pub fn held(policy: &str, context: &Context, space: u32) -> Result<Self, PolicyError> {
        Self::load(context, space)?.ok_or_else(|| {
            let (round, tier) = (context.round, context.tier);
            PolicyError::Other(format!(
                "no mask of {policy} in memory for tier {tier} in round {round}: {policy} must serve both directions"
            ))
        })
    }
}

fn key(context: &Context) -> String {
    format!("mask.{}", context.tier)
}

/// First and count of each chunk of `len`.
fn chunks(len: u32) -> impl Iterator<Item = (u32, u32)> {
    (0..len).step_by(CHUNK as usize).map(move |first| (first, CHUNK.min(len - first)))
}
