//! The coordinates that a client sends: its segment of the flat vector, and the largest values of A and of the rest in it.

use cellm_plugin::{IndexSet, Layout, Role, Vector, share_of};

/// The flat vector in parts of nearly one length.
pub struct Segments {
    pub values: u32,
    count: u32,
    /// Offset and length of each A.
    a: Vec<(u32, u32)>,
}

impl Segments {
    pub fn new(layout: &Layout, count: u32) -> Self {
        let of_a = layout.tensors.iter().filter(|tensor| tensor.role == Role::LoraA);
        Self { values: layout.values, count, a: of_a.map(|tensor| (tensor.offset, tensor.len)).collect() }
    }

    /// Offset and length of segment `(client + round) mod count`.
    pub fn of(&self, client: u32, round: u32) -> (u32, u32) {
        let number = (u64::from(client) + u64::from(round)) % u64::from(self.count);
        let begin = |number: u64| (number * u64::from(self.values) / u64::from(self.count)) as u32;
        (begin(number), begin(number + 1) - begin(number))
    }

    /// A's coordinates among `len` values from `offset` on, counted from there.
    fn of_a(&self, offset: u32, len: u32) -> Vec<u32> {
        let end = offset + len;
        let within = |(begin, count): &(u32, u32)| (*begin).max(offset)..(begin + count).min(end);
        self.a.iter().flat_map(|tensor| within(tensor).map(|index| index - offset)).collect()
    }

    /// The most values that can be chosen among `len` from `offset` on, at this density.
    pub fn most(&self, offset: u32, len: u32, density: f64) -> u32 {
        let of_a = self.of_a(offset, len).len() as u32;
        share_of(density, of_a) + share_of(density, len - of_a)
    }

    /// The largest values of A and of the rest, each by its density. `part` are the values from `offset` on.
    pub fn choose(&self, part: &Vector, offset: u32, density_of_a: f64, density_of_rest: f64) -> IndexSet {
        let len = part.len();
        // Runs of a layout are increasing and within the segment; were they not, all would count as the rest.
        let of_a = IndexSet::from_list(len, &self.of_a(offset, len));
        let of_a = of_a.unwrap_or_else(|_| IndexSet::runs(len, 0, 0, 0, 0));
        largest(part, &of_a, density_of_a).union(&largest(part, &of_a.complement(), density_of_rest))
    }
}

/// The largest values at `among`, this share of them.
fn largest(part: &Vector, among: &IndexSet, density: f64) -> IndexSet {
    let only = part.copy();
    only.keep(among);
    // Where too few are not zero, the lowest coordinates fill up, of which some are not among them.
    only.top_k(0, part.len(), share_of(density, among.count())).intersection(among)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(count: u32) -> Segments {
        Segments { values: 20, count, a: vec![(0, 6), (10, 4)] }
    }

    #[test]
    fn every_value_has_its_turn_and_clients_of_a_round_differ() {
        let segments = segments(3);
        for client in 0..3 {
            let mut seen = [0; 20];
            for round in 1..4 {
                let (offset, len) = segments.of(client, round);
                seen[offset as usize..(offset + len) as usize].iter_mut().for_each(|count| *count += 1);
                assert_eq!((offset, len), segments.of(0, client + round));
            }
            assert_eq!(seen, [1; 20]);
        }
        assert_eq!(segments.of(u32::MAX, u32::MAX), segments.of(0, (u64::from(u32::MAX) * 2 % 3) as u32));
    }

    #[test]
    fn a_and_the_rest_give_their_own_largest() {
        let part = Vector::from_values((0..12).map(|i| i as f32 - 20.0).collect());
        // From 4 on: A is 4, 5, 10, 11, 12, 13, so 0, 1, 6, 7, 8, 9 here.
        let chosen = segments(1).choose(&part, 4, 0.5, 0.34);
        assert_eq!(chosen.read(0, chosen.count()), [0, 1, 2, 3, 6]);
        assert_eq!(segments(1).most(4, 12, 0.5), 6);
    }

    #[test]
    fn zeros_of_the_one_are_not_taken_for_the_other() {
        let part = Vector::new(12);
        part.write(2, &[1.0]);
        let chosen = segments(1).choose(&part, 4, 0.5, 0.5);
        assert_eq!(chosen.read(0, chosen.count()), [0, 1, 2]);
    }
}
