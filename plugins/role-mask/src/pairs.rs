//! The ranks of all pairs `B A` as one numbering: rank v of a pair is row v of its A and column v of its B.

use cellm_plugin::pairs::{Pair, pairs};
use cellm_plugin::{IndexSet, Layout, PolicyError, Vector, algebra};

use crate::scheme::Part;

/// All pairs of a layout.
pub struct Pairs {
    pairs: Vec<Numbered>,
    ranks: u32,
    space: u32,
}

/// A pair and the number of its first rank among the ranks of all pairs.
struct Numbered {
    pair: Pair,
    first: u32,
}

impl Pairs {
    /// Numbers the ranks of a layout's pairs.
    ///
    /// # Errors
    /// When there is no pair, a factor lacks its other half or the two do not fit.
    pub fn new(layout: &Layout) -> Result<Self, PolicyError> {
        let mut ranks = 0;
        let number = |pair: Pair| {
            let first = ranks;
            ranks += pair.rank;
            Numbered { pair, first }
        };
        let pairs = pairs(layout)?.into_iter().map(number).collect();
        Ok(Self { pairs, ranks, space: layout.values })
    }

    /// Number of ranks of all pairs together.
    pub fn ranks(&self) -> u32 {
        self.ranks
    }

    /// First rank and number of ranks of each pair.
    pub fn spans(&self) -> impl Iterator<Item = (u32, u32)> {
        self.pairs.iter().map(|numbered| (numbered.first, numbered.pair.rank))
    }

    /// The coordinates of these ranks in one factor. `ranks` increase and lie below [`Pairs::ranks`].
    pub fn coordinates(&self, part: Part, ranks: &IndexSet) -> Result<IndexSet, PolicyError> {
        let chosen = ranks.read(0, ranks.count());
        let mut found = Vec::new();
        for numbered in &self.pairs {
            let from = chosen.partition_point(|rank| *rank < numbered.first);
            let until = chosen.partition_point(|rank| *rank < numbered.first + numbered.pair.rank);
            numbered.coordinates(part, &chosen[from..until], &mut found);
        }
        // The layout may hold the factors in any order.
        found.sort_unstable();
        IndexSet::from_list(self.space, &found).map_err(PolicyError::Other)
    }

    /// For each rank the norm of its row of A or its column of B in `values`.
    pub fn norms(&self, part: Part, values: &Vector) -> Vector {
        let norms = Vector::new(self.ranks);
        for Numbered { pair, first } in &self.pairs {
            let of_pair = match part {
                Part::A => algebra::row_norms(&pair.a.of(values), pair.rank, pair.inputs),
                Part::B => algebra::column_norms(&pair.b.of(values), pair.outputs, pair.rank),
            };
            norms.paste(*first, &of_pair);
        }
        norms
    }
}

impl Numbered {
    /// Appends the coordinates of these ranks, which are the pair's.
    fn coordinates(&self, part: Part, chosen: &[u32], into: &mut Vec<u32>) {
        let pair = &self.pair;
        let ranks = chosen.iter().map(|number| number - self.first);
        match part {
            Part::A => {
                let row = |rank| pair.a.offset + rank * pair.inputs;
                into.extend(ranks.flat_map(|rank| row(rank)..row(rank) + pair.inputs));
            }
            Part::B => {
                let column = |row| ranks.clone().map(move |rank| pair.b.offset + row * pair.rank + rank);
                into.extend((0..pair.outputs).flat_map(column));
            }
        }
    }
}
