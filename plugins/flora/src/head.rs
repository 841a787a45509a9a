//! The head's own rule: each output's row is the mean of the clients' changes of it, weighted by how far each moved it.
//! In: updates and what their clients count for. Out: the head's tensors of the aggregate.
//!
//! `row_r = sum of w_i |u_i,r| u_i,r / sum of w_i |u_i,r|`
//!
//! A client that has no text of a class hardly moves the class's row; in a plain mean it only shrinks what the others found.

use cellm_plugin::pairs::Place;
use cellm_plugin::{Layout, PolicyError, Role, Vector};

/// The running sums of every row of the head.
pub struct Head {
    rows: Vec<Row>,
}

struct Row {
    place: Place,
    sum: Vector,
    weight: f64,
}

impl Head {
    /// One row for each output: a weight of `[outputs, inputs]`, a bias of `[outputs]`.
    ///
    /// # Errors
    /// The adapter has no head.
    pub fn new(layout: &Layout) -> Result<Self, PolicyError> {
        let tensors = layout.tensors.iter().filter(|tensor| tensor.role == Role::Head);
        let rows: Vec<Row> = tensors
            .flat_map(|tensor| {
                let outputs = tensor.shape.first().copied().unwrap_or(1).max(1);
                let len = tensor.len / outputs;
                (0..outputs).map(move |row| Place { offset: tensor.offset + row * len, len })
            })
            .map(|place| Row { place, sum: Vector::new(place.len), weight: 0.0 })
            .collect();
        if rows.is_empty() {
            let found = layout.tensors.len();
            let message = format!("head is \"rows\", but none of the adapter's {found} tensors is a head");
            return Err(PolicyError::Other(message));
        }
        Ok(Self { rows })
    }

    /// Adds a client's change of each row.
    pub fn add(&mut self, weight: f64, update: &Vector) {
        for row in &mut self.rows {
            let change = row.place.of(update);
            let share = weight * change.norm();
            row.sum.axpy(share as f32, &change);
            row.weight += share;
        }
    }

    /// Writes the rows into the aggregate; one that nobody moved stays where it is.
    pub fn put(&self, aggregate: &Vector) {
        for row in &self.rows {
            if row.weight > 0.0 {
                row.sum.scale((1.0 / row.weight) as f32);
            }
            row.place.put(aggregate, &row.sum);
        }
    }
}
