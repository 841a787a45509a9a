//! Memory that a policy holds in the host by handle: shared until written to, charged to the policy as long as it holds it.

use std::sync::Arc;

use super::budget::{Budget, Charge};
use super::error::Refusal;

/// A run of values, cheap to clone; clones share memory and charge until one is written to.
#[derive(Debug)]
pub(super) struct ChargedBuffer<T>(Arc<Charged<T>>);

#[derive(Debug)]
struct Charged<T> {
    values: Arc<Vec<T>>,
    _charge: Charge,
}

impl<T> Clone for ChargedBuffer<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Clone> ChargedBuffer<T> {
    /// Lends the caller's values to the policy, without copying.
    pub fn lend(values: Arc<Vec<T>>, budget: &Budget) -> Result<Self, Refusal> {
        let charge = budget.charge(size_of_val(values.as_slice()) as u64)?;
        Ok(Self(Arc::new(Charged { values, _charge: charge })))
    }

    /// Room for `len` values is charged before `make` makes them.
    pub fn make(len: usize, budget: &Budget, make: impl FnOnce() -> Vec<T>) -> Result<Self, Refusal> {
        let charge = budget.charge((len as u64).saturating_mul(size_of::<T>() as u64))?;
        Ok(Self(Arc::new(Charged { values: Arc::new(make()), _charge: charge })))
    }

    /// Like [`make`](Self::make) for a result of at most `most` values; what it does not need is given back.
    pub fn make_at_most(most: usize, budget: &Budget, make: impl FnOnce() -> Vec<T>) -> Result<Self, Refusal> {
        let room = budget.charge((most as u64).saturating_mul(size_of::<T>() as u64))?;
        let mut values = make();
        values.shrink_to_fit();
        drop(room);
        Self::lend(Arc::new(values), budget)
    }

    pub fn as_slice(&self) -> &[T] {
        &self.0.values
    }

    /// For writing; copied first if anyone else can see it.
    pub fn make_mut(&mut self, budget: &Budget) -> Result<&mut [T], Refusal> {
        let alone = Arc::get_mut(&mut self.0).is_some_and(|charged| Arc::get_mut(&mut charged.values).is_some());
        if !alone {
            *self = Self::make(self.as_slice().len(), budget, || self.as_slice().to_vec())?;
        }
        // Alone now: neither make_mut copies.
        let charged = Arc::get_mut(&mut self.0).ok_or(Refusal::Misuse("a fresh buffer is shared".into()))?;
        Ok(Arc::make_mut(&mut charged.values).as_mut_slice())
    }

    /// For someone who keeps the values on another account.
    pub fn share(&self) -> Arc<Vec<T>> {
        self.0.values.clone()
    }

    /// The values, without copying if nobody else holds them.
    pub fn into_vec(self) -> Vec<T> {
        match Arc::try_unwrap(self.0) {
            Ok(charged) => Arc::unwrap_or_clone(charged.values),
            Err(shared) => shared.values.to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writing_to_a_lent_buffer_copies_it_and_charges_the_copy() {
        let budget = Budget::new(1000);
        let callers = Arc::new(vec![1.0_f32; 100]);
        let mut buffer = ChargedBuffer::lend(callers.clone(), &budget).unwrap();
        buffer.make_mut(&budget).unwrap()[0] = 2.0;
        assert_eq!(callers[0], 1.0);
        assert_eq!(buffer.as_slice()[0], 2.0);
        assert!(ChargedBuffer::<f32>::make(151, &budget, Vec::new).is_err(), "400 of 1000 bytes are taken");
        assert!(ChargedBuffer::<f32>::make(150, &budget, Vec::new).is_ok());
    }

    #[test]
    fn a_clone_keeps_the_charge_alive() {
        let budget = Budget::new(400);
        let first = ChargedBuffer::<f32>::make(100, &budget, || vec![0.0; 100]).unwrap();
        let second = first.clone();
        drop(first);
        assert!(ChargedBuffer::<f32>::make(1, &budget, Vec::new).is_err());
        drop(second);
        assert!(ChargedBuffer::<f32>::make(1, &budget, Vec::new).is_ok());
    }
}
