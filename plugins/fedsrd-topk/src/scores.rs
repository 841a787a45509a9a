//! The scores of all values. In: what moved, and the weights that the other half of each pair is taken from. Out: a vector.

use cellm_plugin::Vector;
use cellm_plugin::algebra::{column_norms, row_norms, scale_columns, scale_rows};
use cellm_plugin::pairs::Pair;

/// The score of every value of `moved`: A's by the columns of B in `columns_of`, B's by the rows of A in `rows_of`, all
/// others by their magnitude.
pub fn scores(pairs: &[Pair], moved: &Vector, rows_of: &Vector, columns_of: &Vector) -> Vector {
    let scores = moved.copy();
    scores.absolute();
    for pair in pairs {
        let columns = column_norms(&pair.b.of(columns_of), pair.outputs, pair.rank);
        let rows = row_norms(&pair.a.of(rows_of), pair.rank, pair.inputs);
        let (of_a, of_b) = (pair.a.of(&scores), pair.b.of(&scores));
        scale_rows(&of_a, pair.inputs, &columns);
        scale_columns(&of_b, pair.rank, &rows);
        of_a.scale(pair.scale);
        of_b.scale(pair.scale);
        pair.a.put(&scores, &of_a);
        pair.b.put(&scores, &of_b);
    }
    scores
}

#[cfg(test)]
mod tests {
    use super::*;
    use cellm_plugin::algebra::matmul;
    use cellm_plugin::{harness::Adapter, pairs::pairs};

    #[test]
    fn a_score_is_the_norm_of_what_the_value_alone_adds_to_the_layer() {
        let layout = Adapter::lora(2, &[(4, 5), (3, 6)]).with_residuals().layout;
        let draw = |number| Vector::random_normal(layout.values, 1, number);
        let (before, moved) = (draw(1), draw(2));
        let after = before.copy();
        after.axpy(1.0, &moved);
        let pairs = pairs(&layout).unwrap();
        let scores = scores(&pairs, &moved, &before, &after).values();
        for (i, score) in scores.iter().enumerate() {
            let alone = Vector::new(layout.values);
            alone.write(i as u32, &moved.read(i as u32, 1));
            // Of each layer one of the two is zero, but for the one that the value is in.
            let mut added = 0.0;
            for pair in &pairs {
                let product = |a: &Vector, b: &Vector| {
                    let (a, b) = (pair.a.of(a), pair.b.of(b));
                    matmul(&b, &a, pair.outputs, pair.rank, pair.inputs, false, false).norm()
                };
                let residual = pair.residual.map_or(0.0, |place| place.of(&alone).norm());
                added += 2.0 * (product(&alone, &after) + product(&before, &alone)) + residual;
            }
            assert!((f64::from(*score) - added).abs() < 1e-5, "value {i}: {score}, {added}");
        }
    }
}
