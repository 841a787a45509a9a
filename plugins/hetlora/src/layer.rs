//! The sums of one layer. In: updates with their rank and weight. Out: the layer's part of the aggregate.

use cellm_plugin::pairs::Pair;
use cellm_plugin::{IndexSet, Vector, algebra};

/// Weighted sums of the updates of A and B, and what each direction (row of A, column of B) was weighted by.
pub struct LayerSum {
    a: Vector,
    b: Vector,
    /// For each direction the weight of the clients that have it.
    having: Vec<f64>,
    /// The weight of all clients.
    all: f64,
}

impl LayerSum {
    pub fn new(pair: &Pair) -> Self {
        Self { a: Vector::new(pair.a.len), b: Vector::new(pair.b.len), having: vec![0.0; pair.rank as usize], all: 0.0 }
    }

    /// Takes in the first `directions` of the update.
    pub fn add(&mut self, pair: &Pair, update: &Vector, directions: u32, weight: f64) {
        let rows = self.a.slice(0, directions * pair.inputs);
        rows.axpy(weight as f32, &pair.factor_a(update, directions));
        self.a.paste(0, &rows);
        let columns = pair.factor_b(update, directions);
        columns.scale(weight as f32);
        self.b.scatter_add(&IndexSet::runs(pair.b.len, 0, directions, pair.rank, pair.outputs), &columns);
        self.having.iter_mut().take(directions as usize).for_each(|having| *having += weight);
        self.all += weight;
    }

    /// Writes the layer's part. With `zero_absent` a direction's end is `sum of w_i (base + u_i)` over those that have it,
    /// over the weight of all; so its change is `sum of w_i u_i / all + base * (having / all - 1)`.
    pub fn put(self, pair: &Pair, base: &Vector, zero_absent: bool, into: &Vector) {
        let divisor = |having: f64| if zero_absent { self.all } else { having };
        let of_sum = factors(&self.having, |having| 1.0 / divisor(having));
        let of_base = factors(&self.having, |having| having / divisor(having) - 1.0);
        algebra::scale_rows(&self.a, pair.inputs, &of_sum);
        algebra::scale_columns(&self.b, pair.rank, &of_sum);
        let (base_a, base_b) = (pair.a.of(base), pair.b.of(base));
        algebra::scale_rows(&base_a, pair.inputs, &of_base);
        algebra::scale_columns(&base_b, pair.rank, &of_base);
        self.a.axpy(1.0, &base_a);
        self.b.axpy(1.0, &base_b);
        pair.a.put(into, &self.a);
        pair.b.put(into, &self.b);
    }
}

/// One factor for each direction; zero where nobody has it, so that it keeps its value.
fn factors(having: &[f64], factor: impl Fn(f64) -> f64) -> Vector {
    let factor = |having: &f64| if *having > 0.0 { factor(*having) as f32 } else { 0.0 };
    let factors = Vector::new(having.len() as u32);
    factors.write(0, &having.iter().map(factor).collect::<Vec<f32>>());
    factors
}
