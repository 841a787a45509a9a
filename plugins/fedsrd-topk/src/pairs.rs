//! The pairs of a layout, and the scores of their values.

use cellm_plugin::algebra::{column_norms, row_norms, scale_columns, scale_rows};
use cellm_plugin::{Role, TensorInfo, Vector};

/// A `[rank, inputs]` and B `[outputs, rank]` of one layer.
#[derive(Debug, PartialEq)]
pub struct Pair {
    pub a: u32,
    pub b: u32,
    pub rank: u32,
    pub inputs: u32,
    pub outputs: u32,
    /// `alpha / rank`.
    pub scale: f32,
}

impl Pair {
    fn a_of(&self, whole: &Vector) -> Vector {
        whole.slice(self.a, self.rank * self.inputs)
    }

    fn b_of(&self, whole: &Vector) -> Vector {
        whole.slice(self.b, self.outputs * self.rank)
    }
}

/// Every A that is followed by the B of its rank: layouts list a layer's two tensors one after the other.
pub fn find(tensors: &[TensorInfo]) -> Vec<Pair> {
    let pair = |tensors: &[TensorInfo]| {
        let [a, b] = tensors else { return None };
        let ([rank, inputs], [outputs, columns]) = (a.shape.as_slice(), b.shape.as_slice()) else { return None };
        let fits = a.role == Role::LoraA && b.role == Role::LoraB && rank == columns;
        let (rank, inputs, outputs) = (*rank, *inputs, *outputs);
        fits.then_some(Pair { a: a.offset, b: b.offset, rank, inputs, outputs, scale: a.scale })
    };
    tensors.windows(2).filter_map(pair).collect()
}

/// The score of every value of `moved`: A's by the columns of B in `columns_of`, B's by the rows of A in `rows_of`, all
/// others by their magnitude.
pub fn scores(pairs: &[Pair], moved: &Vector, rows_of: &Vector, columns_of: &Vector) -> Vector {
    let scores = moved.copy();
    scores.absolute();
    for pair in pairs {
        let columns = column_norms(&pair.b_of(columns_of), pair.outputs, pair.rank);
        let rows = row_norms(&pair.a_of(rows_of), pair.rank, pair.inputs);
        let (of_a, of_b) = (pair.a_of(&scores), pair.b_of(&scores));
        scale_rows(&of_a, pair.inputs, &columns);
        scale_columns(&of_b, pair.rank, &rows);
        for (offset, scored) in [(pair.a, of_a), (pair.b, of_b)] {
            scored.scale(pair.scale);
            scores.paste(offset, &scored);
        }
    }
    scores
}

#[cfg(test)]
mod tests {
    use super::*;
    use cellm_plugin::algebra::matmul;

    fn tensor(role: Role, shape: [u32; 2], offset: u32) -> TensorInfo {
        let len = shape[0] * shape[1];
        TensorInfo { name: "t".into(), role, shape: shape.into(), rank: 2, scale: 3.0, seed: 0, offset, len }
    }

    fn tensors() -> Vec<TensorInfo> {
        vec![tensor(Role::Head, [2, 2], 0), tensor(Role::LoraA, [2, 5], 4), tensor(Role::LoraB, [4, 2], 14)]
    }

    #[test]
    fn an_a_and_the_b_behind_it_are_a_pair_and_nothing_else_is() {
        assert_eq!(find(&tensors()), [Pair { a: 4, b: 14, rank: 2, inputs: 5, outputs: 4, scale: 3.0 }]);
        let mut other_rank = tensors();
        other_rank[2].shape = vec![2, 4];
        assert_eq!(find(&other_rank), []);
        assert_eq!(find(&tensors()[1..2]), []);
    }

    #[test]
    fn a_score_is_the_norm_of_what_the_value_alone_adds_to_the_layer() {
        let (before, moved) = (Vector::random_normal(22, 1, 1), Vector::random_normal(22, 1, 2));
        let after = before.copy();
        after.axpy(1.0, &moved);
        let pairs = find(&tensors());
        let scores = scores(&pairs, &moved, &before, &after).values();
        let product = |a: &Vector, b: &Vector| matmul(b, a, 4, 2, 5, false, false);
        let (a, b_after) = (pairs[0].a_of(&before), pairs[0].b_of(&after));
        for (i, score) in scores.iter().enumerate() {
            let alone = Vector::new(22);
            alone.write(i as u32, &moved.read(i as u32, 1));
            let added = match i {
                0..4 => alone.norm(),
                4..14 => 3.0 * product(&pairs[0].a_of(&alone), &b_after).norm(),
                _ => 3.0 * product(&a, &pairs[0].b_of(&alone)).norm(),
            };
            assert!((f64::from(*score) - added).abs() < 1e-5, "value {i}: {score}, {added}");
        }
    }
}
