//! The head's own rule: its tensors are averaged by loss, so that the clients whose text fits it count for more. In: updates
//! and their losses. Out: the head's tensors of the aggregate.

use cellm_plugin::mean::LossMean;
use cellm_plugin::pairs::Place;
use cellm_plugin::{Layout, PolicyError, Role, Vector};

/// The tensors of the head, each with its mean.
pub struct Head(Vec<(Place, LossMean)>);

impl Head {
    /// Nothing added yet.
    ///
    /// # Errors
    /// The adapter has no head.
    pub fn new(layout: &Layout) -> Result<Self, PolicyError> {
        let tensors = layout.tensors.iter().filter(|tensor| tensor.role == Role::Head);
        let places = tensors.map(|tensor| Place { offset: tensor.offset, len: tensor.len });
        let head: Vec<_> = places.map(|place| (place, LossMean::default())).collect();
        if head.is_empty() {
            let found = layout.tensors.len();
            let message = format!("head is \"loss\", but none of the adapter's {found} tensors is a head");
            return Err(PolicyError::Other(message));
        }
        Ok(Self(head))
    }

    /// Adds the head of a client's update.
    ///
    /// # Errors
    /// Its loss is infinite or negative.
    pub fn add(&mut self, loss: Option<f64>, update: &Vector) -> Result<(), PolicyError> {
        self.0.iter_mut().try_for_each(|(place, mean)| mean.add(loss, &place.of(update)))
    }

    /// Overwrites the head of the aggregate.
    ///
    /// # Errors
    /// Nothing was added.
    pub fn put(&mut self, aggregate: &Vector) -> Result<(), PolicyError> {
        for (place, mean) in &mut self.0 {
            place.put(aggregate, &mean.take()?);
        }
        Ok(())
    }
}
