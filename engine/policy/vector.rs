//! The WIT resource `vector` with its kernels, and the other kernels of the WIT interface `host`.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use wasmtime::component::Resource;

use super::bindings::cellm::policy::host::{Host, HostVector};
use super::buffer::Buffer;
use super::error::Refusal;
use super::index_set::IndexSet;
use super::state::{State, range};
use super::top_k::top_k;

/// A flat vector of f32 that a policy holds by handle.
#[derive(Debug, Clone)]
pub struct Vector(pub(super) Buffer<f32>);

impl State {
    fn values(&self, this: &Resource<Vector>) -> wasmtime::Result<Buffer<f32>> {
        Ok(self.table.get(this)?.0.clone())
    }

    fn values_mut(&mut self, this: &Resource<Vector>) -> wasmtime::Result<&mut [f32]> {
        Ok(self.table.get_mut(this)?.0.make_mut(&self.budget)?)
    }
}

fn misfit(call: &str, one: usize, other: usize) -> wasmtime::Error {
    Refusal::Misuse(format!("{call}: {one} values on one side, {other} on the other")).into()
}

impl HostVector for State {
    fn new(&mut self, len: u32) -> wasmtime::Result<Resource<Vector>> {
        let zeros = Buffer::make(len as usize, &self.budget, || vec![0.0; len as usize])?;
        self.push(Vector(zeros))
    }

    fn len(&mut self, this: Resource<Vector>) -> wasmtime::Result<u32> {
        Ok(self.table.get(&this)?.0.as_slice().len() as u32)
    }

    fn read(&mut self, this: Resource<Vector>, offset: u32, count: u32) -> wasmtime::Result<Vec<f32>> {
        Ok(range("vector.read", self.table.get(&this)?.0.as_slice(), offset, count)?.to_vec())
    }

    fn write(&mut self, this: Resource<Vector>, offset: u32, values: Vec<f32>) -> wasmtime::Result<()> {
        range("vector.write", self.table.get(&this)?.0.as_slice(), offset, values.len() as u32)?;
        let offset = offset as usize;
        self.values_mut(&this)?[offset..offset + values.len()].copy_from_slice(&values);
        Ok(())
    }

    fn copy(&mut self, this: Resource<Vector>) -> wasmtime::Result<Resource<Vector>> {
        let values = self.values(&this)?;
        self.push(Vector(values))
    }

    fn axpy(&mut self, this: Resource<Vector>, a: f32, x: Resource<Vector>) -> wasmtime::Result<()> {
        let x = self.values(&x)?;
        let own = self.values_mut(&this)?;
        if own.len() != x.as_slice().len() {
            return Err(misfit("vector.axpy", own.len(), x.as_slice().len()));
        }
        for (own, x) in own.iter_mut().zip(x.as_slice()) {
            *own += a * x;
        }
        Ok(())
    }

    fn scale(&mut self, this: Resource<Vector>, a: f32) -> wasmtime::Result<()> {
        self.values_mut(&this)?.iter_mut().for_each(|value| *value *= a);
        Ok(())
    }

    fn norm(&mut self, this: Resource<Vector>) -> wasmtime::Result<f64> {
        let values = self.table.get(&this)?.0.as_slice();
        Ok(values.iter().map(|value| f64::from(*value) * f64::from(*value)).sum::<f64>().sqrt())
    }

    fn top_k(
        &mut self,
        this: Resource<Vector>,
        offset: u32,
        count: u32,
        k: u32,
    ) -> wasmtime::Result<Resource<IndexSet>> {
        let values = self.values(&this)?;
        let among = range("vector.top-k", values.as_slice(), offset, count)?;
        if k > count {
            return Err(Refusal::Misuse(format!("vector.top-k: {k} of {count} values")).into());
        }
        let indices = Buffer::make(k as usize, &self.budget, || top_k(among, offset, k as usize))?;
        let space = values.as_slice().len() as u32;
        self.push(IndexSet { space, indices })
    }

    fn gather(&mut self, this: Resource<Vector>, at: Resource<IndexSet>) -> wasmtime::Result<Resource<Vector>> {
        let (values, at) = (self.values(&this)?, self.table.get(&at)?.clone());
        let (values, indices) = (values.as_slice(), at.indices.as_slice());
        if at.space as usize != values.len() {
            return Err(misfit("vector.gather", values.len(), at.space as usize));
        }
        let gather = || indices.iter().map(|index| values[*index as usize]).collect();
        let gathered = Buffer::make(indices.len(), &self.budget, gather)?;
        self.push(Vector(gathered))
    }

    fn scatter(&mut self, this: Resource<Vector>, at: Resource<IndexSet>, x: Resource<Vector>) -> wasmtime::Result<()> {
        let (at, x) = (self.table.get(&at)?.clone(), self.values(&x)?);
        let (indices, x) = (at.indices.as_slice(), x.as_slice());
        if indices.len() != x.len() {
            return Err(misfit("vector.scatter", indices.len(), x.len()));
        }
        let own = self.values_mut(&this)?;
        if at.space as usize != own.len() {
            return Err(misfit("vector.scatter", own.len(), at.space as usize));
        }
        for (index, value) in indices.iter().zip(x) {
            own[*index as usize] = *value;
        }
        Ok(())
    }

    fn drop(&mut self, this: Resource<Vector>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl Host for State {
    fn random_bits(&mut self, seed: u64, number: u64, first: u64, count: u32) -> wasmtime::Result<Vec<u32>> {
        let _room = self.budget.charge(u64::from(count) * 4)?;
        let mut key = *b"cellm policy random bits________";
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&number.to_le_bytes());
        let mut stream = ChaCha8Rng::from_seed(key);
        stream.set_word_pos(u128::from(first));
        Ok((0..count).map(|_| stream.next_u32()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::LimitsConfig;

    #[test]
    fn random_words_depend_on_seed_number_and_place_alone() {
        let mut state = State::new(&LimitsConfig::default());
        let whole = state.random_bits(1, 2, 0, 100).unwrap();
        assert_eq!(state.random_bits(1, 2, 40, 10).unwrap(), whole[40..50]);
        assert_ne!(state.random_bits(1, 3, 0, 100).unwrap(), whole);
        assert_ne!(state.random_bits(2, 2, 0, 100).unwrap(), whole);
        assert_eq!(whole[..2], [268_715_501, 3_756_746_232], "stored results depend on the stream");
    }

    #[test]
    fn kernels_do_what_they_say_and_copies_are_apart() {
        let mut state = State::new(&LimitsConfig::default());
        let borrow = |vector: &Resource<Vector>| Resource::<Vector>::new_borrow(vector.rep());
        let one = HostVector::new(&mut state, 4).unwrap();
        state.write(borrow(&one), 1, vec![3.0, -4.0]).unwrap();
        let two = state.copy(borrow(&one)).unwrap();
        state.axpy(borrow(&two), 2.0, borrow(&one)).unwrap();
        state.axpy(borrow(&two), 1.0, borrow(&two)).unwrap();
        state.scale(borrow(&two), 0.5).unwrap();
        assert_eq!(HostVector::read(&mut state, borrow(&one), 0, 4).unwrap(), [0.0, 3.0, -4.0, 0.0]);
        assert_eq!(HostVector::read(&mut state, borrow(&two), 0, 4).unwrap(), [0.0, 9.0, -12.0, 0.0]);
        assert_eq!(state.norm(borrow(&one)).unwrap(), 5.0);
        let set = state.top_k(borrow(&one), 0, 3, 1).unwrap();
        let largest = state.gather(borrow(&one), Resource::new_borrow(set.rep())).unwrap();
        assert_eq!(HostVector::read(&mut state, borrow(&largest), 0, 1).unwrap(), [-4.0]);
        let other = HostVector::new(&mut state, 5).unwrap();
        assert!(state.axpy(borrow(&other), 1.0, borrow(&one)).is_err());
        assert!(state.scatter(other, set, largest).is_err(), "the set is of a space of 4");
    }
}
