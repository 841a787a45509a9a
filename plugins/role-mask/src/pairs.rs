//! The ranks of all pairs `B A` as one numbering: rank v of a pair is row v of its A and column v of its B.

use cellm_plugin::{IndexSet, Layout, PolicyError, Role, TensorInfo, Vector, algebra};

use crate::scheme::Part;

/// One pair of factors.
pub struct Pair {
    /// Number of its first rank among the ranks of all pairs.
    pub first: u32,
    /// How many ranks it has.
    pub rank: u32,
    /// Offset of A and how long its rows are.
    a: (u32, u32),
    /// Offset of B and how long its columns are.
    b: (u32, u32),
}

/// All pairs of a layout.
pub struct Pairs {
    pairs: Vec<Pair>,
    ranks: u32,
    space: u32,
}

impl Pairs {
    /// Finds the pairs: B is named as A is, with `lora_B` for `lora_A`.
    ///
    /// # Errors
    /// When a factor lacks its other half or the two do not fit.
    pub fn new(layout: &Layout) -> Result<Self, PolicyError> {
        let of = |role: Role| layout.tensors.iter().filter(move |tensor| tensor.role == role);
        let (mut pairs, mut ranks) = (Vec::new(), 0);
        for a in of(Role::LoraA) {
            let name = a.name.replace("lora_A", "lora_B");
            let b = of(Role::LoraB).find(|tensor| tensor.name == name);
            let pair = b.and_then(|b| Pair::new(a, b, ranks)).ok_or_else(|| mismatch(a, b))?;
            ranks += pair.rank;
            pairs.push(pair);
        }
        if of(Role::LoraB).count() != pairs.len() {
            let found = of(Role::LoraB).count();
            return Err(PolicyError::Other(format!("{found} tensors of role lora-b found, {} of lora-a", pairs.len())));
        }
        Ok(Self { pairs, ranks, space: layout.values })
    }

    /// How many ranks all pairs have together.
    pub fn ranks(&self) -> u32 {
        self.ranks
    }

    /// Each pair.
    pub fn iter(&self) -> impl Iterator<Item = &Pair> {
        self.pairs.iter()
    }

    /// The coordinates of these ranks in one factor. `ranks` increase and lie below [`Pairs::ranks`].
    pub fn coordinates(&self, part: Part, ranks: &IndexSet) -> Result<IndexSet, PolicyError> {
        let chosen = ranks.read(0, ranks.count());
        let mut found = Vec::new();
        for pair in &self.pairs {
            let from = chosen.partition_point(|rank| *rank < pair.first);
            let until = chosen.partition_point(|rank| *rank < pair.first + pair.rank);
            pair.coordinates(part, &chosen[from..until], &mut found);
        }
        // The layout may hold the factors in any order.
        found.sort_unstable();
        IndexSet::from_list(self.space, &found).map_err(PolicyError::Other)
    }

    /// For each rank the norm of its row of A or its column of B in `values`.
    pub fn norms(&self, part: Part, values: &Vector) -> Vector {
        let norms = Vector::new(self.ranks);
        for pair in &self.pairs {
            let of_pair = match (part, pair.a, pair.b) {
                (Part::A, (offset, columns), _) => {
                    algebra::row_norms(&values.slice(offset, pair.rank * columns), pair.rank, columns)
                }
                (Part::B, _, (offset, rows)) => {
                    algebra::column_norms(&values.slice(offset, rows * pair.rank), rows, pair.rank)
                }
            };
            norms.paste(pair.first, &of_pair);
        }
        norms
    }
}

impl Pair {
    fn new(a: &TensorInfo, b: &TensorInfo, first: u32) -> Option<Self> {
        let ([rank, columns], [rows, rank_of_b]) = (a.shape.as_slice(), b.shape.as_slice()) else { return None };
        let fits = rank == rank_of_b && rank.checked_mul(*columns)? == a.len && rows.checked_mul(*rank)? == b.len;
        fits.then_some(Self { first, rank: *rank, a: (a.offset, *columns), b: (b.offset, *rows) })
    }

    fn coordinates(&self, part: Part, chosen: &[u32], into: &mut Vec<u32>) {
        let ranks = chosen.iter().map(|number| number - self.first);
        match (part, self.a, self.b) {
            (Part::A, (offset, columns), _) => {
                into.extend(ranks.flat_map(|rank| (0..columns).map(move |column| offset + rank * columns + column)));
            }
            (Part::B, _, (offset, rows)) => {
                into.extend((0..rows).flat_map(|row| ranks.clone().map(move |rank| offset + row * self.rank + rank)));
            }
        }
    }
}

fn mismatch(a: &TensorInfo, b: Option<&TensorInfo>) -> PolicyError {
    let found = b.map_or("no lora-b tensor".into(), |b| format!("{} {:?}", b.name, b.shape));
    PolicyError::Other(format!("{found} found as the other half of {} {:?}, [out, rank] expected", a.name, a.shape))
}
