//! The WIT resource `vector`: what each of its functions does stands in `kernels`, by topic.

use wasmtime::component::Resource;

use super::bindings::cellm::policy::host::HostVector;
use super::charged_buffer::ChargedBuffer;
use super::resources::{Codes, IndexSet, Vector};
use super::state::{State, range};

impl State {
    /// The values behind a handle, shared.
    pub(super) fn values(&self, this: &Resource<Vector>) -> wasmtime::Result<ChargedBuffer<f32>> {
        Ok(self.table.get(this)?.0.clone())
    }

    /// The values behind a handle, for writing: copied first if anyone else can see them.
    pub(super) fn values_mut(&mut self, this: &Resource<Vector>) -> wasmtime::Result<&mut [f32]> {
        Ok(self.table.get_mut(this)?.0.make_mut(&self.budget)?)
    }

    pub(super) fn len_of(&self, this: &Resource<Vector>) -> wasmtime::Result<usize> {
        Ok(self.table.get(this)?.0.as_slice().len())
    }

    /// A new vector of `len` values; the room is charged before they are made.
    pub(super) fn new_vector(
        &mut self,
        len: usize,
        make: impl FnOnce() -> Vec<f32>,
    ) -> wasmtime::Result<Resource<Vector>> {
        let made = ChargedBuffer::make(len, &self.budget, make)?;
        self.push(Vector(made))
    }
}

/// The one NaN that policies see: operations give different ones on different machines.
fn one_nan(value: f32) -> f32 {
    if value.is_nan() { f32::from_bits(0x7fc0_0000) } else { value }
}

/// The same in double precision.
pub(super) fn one_nan_wide(value: f64) -> f64 {
    if value.is_nan() { f64::from_bits(0x7ff8_0000_0000_0000) } else { value }
}

impl HostVector for State {
    fn new(&mut self, len: u32) -> wasmtime::Result<Resource<Vector>> {
        self.new_vector(len as usize, || vec![0.0; len as usize])
    }

    fn len(&mut self, this: Resource<Vector>) -> wasmtime::Result<u32> {
        Ok(self.len_of(&this)? as u32)
    }

    fn read(&mut self, this: Resource<Vector>, offset: u32, count: u32) -> wasmtime::Result<Vec<f32>> {
        let values = range("vector.read", self.table.get(&this)?.0.as_slice(), offset, count)?;
        Ok(values.iter().map(|value| one_nan(*value)).collect())
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

    fn slice(&mut self, this: Resource<Vector>, offset: u32, count: u32) -> wasmtime::Result<Resource<Vector>> {
        let values = self.values(&this)?;
        let part = range("vector.slice", values.as_slice(), offset, count)?;
        self.new_vector(part.len(), || part.to_vec())
    }

    fn paste(&mut self, this: Resource<Vector>, offset: u32, values: Resource<Vector>) -> wasmtime::Result<()> {
        let values = self.values(&values)?;
        let values = values.as_slice();
        range("vector.paste", self.table.get(&this)?.0.as_slice(), offset, values.len() as u32)?;
        let offset = offset as usize;
        self.values_mut(&this)?[offset..offset + values.len()].copy_from_slice(values);
        Ok(())
    }

    fn axpy(&mut self, this: Resource<Vector>, a: f32, x: Resource<Vector>) -> wasmtime::Result<()> {
        self.with_other("vector.axpy", &this, &x, |own, x| cellm_kernels::axpy(own, a, x))
    }

    fn scale(&mut self, this: Resource<Vector>, a: f32) -> wasmtime::Result<()> {
        cellm_kernels::scale(self.values_mut(&this)?, a);
        Ok(())
    }

    fn multiply(&mut self, this: Resource<Vector>, x: Resource<Vector>) -> wasmtime::Result<()> {
        self.with_other("vector.multiply", &this, &x, cellm_kernels::multiply)
    }

    fn divide(&mut self, this: Resource<Vector>, x: Resource<Vector>) -> wasmtime::Result<()> {
        self.with_other("vector.divide", &this, &x, cellm_kernels::divide)
    }

    fn absolute(&mut self, this: Resource<Vector>) -> wasmtime::Result<()> {
        cellm_kernels::absolute(self.values_mut(&this)?);
        Ok(())
    }

    fn count_nonzero(&mut self, this: Resource<Vector>, x: Resource<Vector>) -> wasmtime::Result<()> {
        self.with_other("vector.count-nonzero", &this, &x, cellm_kernels::count_nonzero)
    }

    fn norm(&mut self, this: Resource<Vector>) -> wasmtime::Result<f64> {
        Ok(one_nan_wide(cellm_kernels::norm(self.table.get(&this)?.0.as_slice())))
    }

    fn sum(&mut self, this: Resource<Vector>) -> wasmtime::Result<f64> {
        Ok(one_nan_wide(cellm_kernels::sum(self.table.get(&this)?.0.as_slice())))
    }

    fn dot(&mut self, this: Resource<Vector>, x: Resource<Vector>) -> wasmtime::Result<f64> {
        self.of_two("vector.dot", &this, &x, cellm_kernels::dot)
    }

    fn distance(&mut self, this: Resource<Vector>, x: Resource<Vector>) -> wasmtime::Result<f64> {
        self.of_two("vector.distance", &this, &x, cellm_kernels::distance)
    }

    fn max_abs(&mut self, this: Resource<Vector>) -> wasmtime::Result<f32> {
        Ok(one_nan(cellm_kernels::max_abs(self.table.get(&this)?.0.as_slice())))
    }

    fn top_k(
        &mut self,
        this: Resource<Vector>,
        offset: u32,
        count: u32,
        k: u32,
    ) -> wasmtime::Result<Resource<IndexSet>> {
        self.select_largest(&this, (offset, count), k)
    }

    fn top_k_chunked(
        &mut self,
        this: Resource<Vector>,
        offset: u32,
        count: u32,
        chunk: u32,
        k: u32,
    ) -> wasmtime::Result<Resource<IndexSet>> {
        self.select_largest_of_chunks(&this, (offset, count), chunk, k)
    }

    fn nonzero(&mut self, this: Resource<Vector>) -> wasmtime::Result<Resource<IndexSet>> {
        self.select_nonzero(&this)
    }

    fn gather(&mut self, this: Resource<Vector>, at: Resource<IndexSet>) -> wasmtime::Result<Resource<Vector>> {
        self.gather_values(&this, &at)
    }

    fn scatter(&mut self, this: Resource<Vector>, at: Resource<IndexSet>, x: Resource<Vector>) -> wasmtime::Result<()> {
        self.write_at("vector.scatter", &this, &at, &x, cellm_kernels::scatter)
    }

    fn scatter_add(
        &mut self,
        this: Resource<Vector>,
        at: Resource<IndexSet>,
        x: Resource<Vector>,
    ) -> wasmtime::Result<()> {
        self.write_at("vector.scatter-add", &this, &at, &x, cellm_kernels::scatter_add)
    }

    fn keep(&mut self, this: Resource<Vector>, at: Resource<IndexSet>) -> wasmtime::Result<()> {
        self.keep_values(&this, &at)
    }

    fn quantize(&mut self, this: Resource<Vector>, levels: Vec<f32>) -> wasmtime::Result<Resource<Codes>> {
        self.codes_of("vector.quantize", &this, &levels, cellm_kernels::quantize)
    }

    fn quantize_stochastic(
        &mut self,
        this: Resource<Vector>,
        levels: Vec<f32>,
        seed: u64,
        number: u64,
    ) -> wasmtime::Result<Resource<Codes>> {
        let draw = |values: &[f32], levels: &[f32]| cellm_kernels::quantize_stochastic(values, levels, seed, number);
        self.codes_of("vector.quantize-stochastic", &this, &levels, draw)
    }

    fn lloyd_levels(&mut self, this: Resource<Vector>, count: u32, iterations: u32) -> wasmtime::Result<Vec<f32>> {
        self.best_levels(&this, count, iterations)
    }

    fn rotate(&mut self, this: Resource<Vector>, block: u32, seed: u64, number: u64) -> wasmtime::Result<()> {
        let turn = |values: &mut [f32], block: usize| cellm_kernels::rotate(values, block, seed, number);
        self.turn("vector.rotate", &this, block, turn)
    }

    fn rotate_back(&mut self, this: Resource<Vector>, block: u32, seed: u64, number: u64) -> wasmtime::Result<()> {
        let turn = |values: &mut [f32], block: usize| cellm_kernels::rotate_back(values, block, seed, number);
        self.turn("vector.rotate-back", &this, block, turn)
    }

    fn random_uniform(&mut self, len: u32, seed: u64, number: u64) -> wasmtime::Result<Resource<Vector>> {
        self.new_vector(len as usize, || cellm_kernels::random_uniform(len as usize, seed, number))
    }

    fn random_normal(&mut self, len: u32, seed: u64, number: u64) -> wasmtime::Result<Resource<Vector>> {
        self.normal_draws(len, seed, number)
    }

    fn median(&mut self, of: Vec<Resource<Vector>>) -> wasmtime::Result<Resource<Vector>> {
        self.by_order("vector.median", &of, 0, cellm_kernels::median)
    }

    fn trimmed_mean(&mut self, of: Vec<Resource<Vector>>, trim: u32) -> wasmtime::Result<Resource<Vector>> {
        self.by_order("vector.trimmed-mean", &of, trim, |of| cellm_kernels::trimmed_mean(of, trim as usize))
    }

    fn drop(&mut self, this: Resource<Vector>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}
