//! The coordinates of a client of a lower rank: the first directions of every pair, and everything else whole. In: a
//! layout and a tier's rank. Out: the coordinates, which both ends derive, so that a message has values and no indices.

use std::collections::BTreeMap;

use cellm_plugin::pairs::{Pair, pairs};
use cellm_plugin::{IndexSet, Layout, PolicyError};

/// The coordinates of every rank that was asked for.
pub struct Truncation {
    values: u32,
    pairs: Vec<Pair>,
    made: BTreeMap<u32, IndexSet>,
}

impl Truncation {
    /// # Errors
    /// Tensors that do not pair.
    pub fn new(layout: &Layout) -> Result<Self, PolicyError> {
        Ok(Self { values: layout.values, pairs: pairs(layout)?, made: BTreeMap::new() })
    }

    /// Coordinates that a tier of this rank has; none where it has all.
    pub fn of(&mut self, rank: u32) -> Result<Option<&IndexSet>, PolicyError> {
        if self.pairs.iter().all(|pair| pair.trained(rank) == pair.rank) {
            return Ok(None);
        }
        if !self.made.contains_key(&rank) {
            let kept = IndexSet::from_list(self.values, &self.kept(rank)).map_err(PolicyError::Other)?;
            self.made.insert(rank, kept);
        }
        Ok(self.made.get(&rank))
    }

    fn kept(&self, rank: u32) -> Vec<u32> {
        let mut has = vec![true; self.values as usize];
        for pair in &self.pairs {
            let trained = pair.trained(rank) as usize;
            has[range(pair.a)][trained * pair.inputs as usize..].fill(false);
            has[range(pair.b)].chunks_exact_mut(pair.rank as usize).for_each(|row| row[trained..].fill(false));
        }
        (0..self.values).zip(has).filter_map(|(coordinate, has)| has.then_some(coordinate)).collect()
    }
}

fn range(place: cellm_plugin::pairs::Place) -> std::ops::Range<usize> {
    place.offset as usize..(place.offset + place.len) as usize
}
