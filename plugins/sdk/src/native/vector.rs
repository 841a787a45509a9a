//! Flat vectors of f32, natively.

use std::cell::RefCell;
use std::rc::Rc;

use cellm_kernels as kernels;

use super::{Codes, IndexSet, expect_fit, range};

/// A flat vector of f32. Copies share memory until one is written to.
#[derive(Debug)]
pub struct Vector(RefCell<Rc<Vec<f32>>>);

impl Vector {
    /// Native only: a vector of these values.
    pub fn from_values(values: Vec<f32>) -> Self {
        Self(RefCell::new(Rc::new(values)))
    }

    /// Native only: all values.
    pub fn values(&self) -> Vec<f32> {
        self.shared().to_vec()
    }

    pub(super) fn shared(&self) -> Rc<Vec<f32>> {
        Rc::clone(&self.0.borrow())
    }

    pub(super) fn change<T>(&self, work: impl FnOnce(&mut Vec<f32>) -> T) -> T {
        work(Rc::make_mut(&mut self.0.borrow_mut()))
    }

    /// `work` on itself and `x`, which must be as long.
    fn with(&self, call: &str, x: &Self, work: impl FnOnce(&mut [f32], &[f32])) {
        let x = x.shared();
        expect_fit(call, self.len() as usize, x.len());
        self.change(|own| work(own, &x));
    }

    fn expect_space(&self, call: &str, at: &IndexSet) {
        expect_fit(call, self.len() as usize, at.space as usize);
    }

    /// Zeros.
    pub fn new(len: u32) -> Self {
        Self::from_values(vec![0.0; len as usize])
    }

    /// Number of values.
    #[expect(clippy::len_without_is_empty, reason = "the host has no such function")]
    pub fn len(&self) -> u32 {
        self.0.borrow().len() as u32
    }

    /// Values number `offset` to `offset + count - 1`.
    pub fn read(&self, offset: u32, count: u32) -> Vec<f32> {
        range("vector.read", &self.shared(), offset, count).to_vec()
    }

    /// Overwrites the values from `offset` on.
    pub fn write(&self, offset: u32, values: &[f32]) {
        range("vector.write", &self.shared(), offset, values.len() as u32);
        let offset = offset as usize;
        self.change(|own| own[offset..offset + values.len()].copy_from_slice(values));
    }

    /// Shares memory until one of the two is written to.
    pub fn copy(&self) -> Self {
        Self(RefCell::new(self.shared()))
    }

    /// `self += a * x`, in f32, in order.
    pub fn axpy(&self, a: f32, x: &Self) {
        self.with("vector.axpy", x, |own, x| kernels::axpy(own, a, x));
    }

    /// `self *= a`.
    pub fn scale(&self, a: f32) {
        self.change(|own| kernels::scale(own, a));
    }

    /// Elementwise `self *= x`.
    pub fn multiply(&self, x: &Self) {
        self.with("vector.multiply", x, kernels::multiply);
    }

    /// Elementwise `self /= x`; anything divided by zero is zero.
    pub fn divide(&self, x: &Self) {
        self.with("vector.divide", x, kernels::divide);
    }

    /// Elementwise absolute value, in place.
    pub fn absolute(&self) {
        self.change(|own| kernels::absolute(own));
    }

    /// `self += 1` wherever `x` is not zero.
    pub fn count_nonzero(&self, x: &Self) {
        self.with("vector.count-nonzero", x, kernels::count_nonzero);
    }

    /// Square root of the sum of squares.
    pub fn norm(&self) -> f64 {
        kernels::norm(&self.shared())
    }

    /// Sum of the values.
    pub fn sum(&self) -> f64 {
        kernels::sum(&self.shared())
    }

    /// Sum of the products.
    pub fn dot(&self, x: &Self) -> f64 {
        expect_fit("vector.dot", self.len() as usize, x.len() as usize);
        kernels::dot(&self.shared(), &x.shared())
    }

    /// Norm of the difference.
    pub fn distance(&self, x: &Self) -> f64 {
        expect_fit("vector.distance", self.len() as usize, x.len() as usize);
        kernels::distance(&self.shared(), &x.shared())
    }

    /// Largest absolute value; 0 of nothing.
    pub fn max_abs(&self) -> f32 {
        kernels::max_abs(&self.shared())
    }

    /// A copy of the values number `offset` to `offset + count - 1`.
    pub fn slice(&self, offset: u32, count: u32) -> Self {
        Self::from_values(range("vector.slice", &self.shared(), offset, count).to_vec())
    }

    /// Overwrites the values from `offset` on.
    pub fn paste(&self, offset: u32, values: &Self) {
        let values = values.shared();
        range("vector.paste", &self.shared(), offset, values.len() as u32);
        self.write(offset, &values);
    }

    /// The `k` coordinates of the largest absolute values among `[offset, offset + count)`; of equals the lower index.
    pub fn top_k(&self, offset: u32, count: u32, k: u32) -> IndexSet {
        assert!(k <= count, "vector.top-k: {k} of {count} values");
        let values = self.shared();
        let among = range("vector.top-k", &values, offset, count);
        IndexSet::new(self.len(), kernels::top_k(among, offset, k as usize))
    }

    /// The same inside each chunk of `chunk` values of the range, `k` of each.
    pub fn top_k_chunked(&self, offset: u32, count: u32, chunk: u32, k: u32) -> IndexSet {
        assert!(chunk > 0 && k <= chunk, "vector.top-k-chunked: {k} of chunks of {chunk} values");
        let values = self.shared();
        let among = range("vector.top-k-chunked", &values, offset, count);
        IndexSet::new(self.len(), kernels::top_k_chunked(among, offset, chunk as usize, k as usize))
    }

    /// Coordinates whose value is not zero.
    pub fn nonzero(&self) -> IndexSet {
        IndexSet::new(self.len(), kernels::nonzero(&self.shared()))
    }

    /// The values at these coordinates, in their order.
    pub fn gather(&self, at: &IndexSet) -> Self {
        self.expect_space("vector.gather", at);
        Self::from_values(kernels::gather(&self.shared(), &at.indices))
    }

    /// Overwrites the values at these coordinates.
    pub fn scatter(&self, at: &IndexSet, values: &Self) {
        self.expect_space("vector.scatter", at);
        expect_fit("vector.scatter", at.indices.len(), values.len() as usize);
        let values = values.shared();
        self.change(|own| kernels::scatter(own, &at.indices, &values));
    }

    /// Adds to the values at these coordinates.
    pub fn scatter_add(&self, at: &IndexSet, values: &Self) {
        self.expect_space("vector.scatter-add", at);
        expect_fit("vector.scatter-add", at.indices.len(), values.len() as usize);
        let values = values.shared();
        self.change(|own| kernels::scatter_add(own, &at.indices, &values));
    }

    /// Zero everywhere but at these coordinates.
    pub fn keep(&self, at: &IndexSet) {
        self.expect_space("vector.keep", at);
        self.change(|own| kernels::keep(own, &at.indices));
    }

    /// The code of the nearest level for each value (of two as near, the lower one).
    pub fn quantize(&self, levels: &[f32]) -> Codes {
        expect_levels("vector.quantize", levels);
        Codes::new(kernels::bits_for(levels.len()), kernels::quantize(&self.shared(), levels))
    }

    /// One of the two levels around each value, drawn so that the expectation is the value.
    pub fn quantize_stochastic(&self, levels: &[f32], seed: u64, number: u64) -> Codes {
        expect_levels("vector.quantize-stochastic", levels);
        let codes = kernels::quantize_stochastic(&self.shared(), levels, seed, number);
        Codes::new(kernels::bits_for(levels.len()), codes)
    }

    /// `count` levels that nearly minimize the squared error of `quantize`.
    pub fn lloyd_levels(&self, count: u32, iterations: u32) -> Vec<f32> {
        assert!((2..=256).contains(&count), "vector.lloyd-levels: {count} levels, 2 to 256 allowed");
        kernels::lloyd_levels(&self.shared(), count as usize, iterations)
    }

    /// Randomized Hadamard transform, orthonormal, in place.
    pub fn rotate(&self, block: u32, seed: u64, number: u64) {
        self.expect_blocks("vector.rotate", block);
        self.change(|own| kernels::rotate(own, block as usize, seed, number));
    }

    /// The inverse of `rotate`.
    pub fn rotate_back(&self, block: u32, seed: u64, number: u64) {
        self.expect_blocks("vector.rotate-back", block);
        self.change(|own| kernels::rotate_back(own, block as usize, seed, number));
    }

    fn expect_blocks(&self, call: &str, block: u32) {
        assert!(
            block.is_power_of_two() && self.len().is_multiple_of(block),
            "{call}: {block} of {} values",
            self.len()
        );
    }

    /// Even draws from [0, 1): word i of the stream, its upper 24 bits.
    pub fn random_uniform(len: u32, seed: u64, number: u64) -> Self {
        Self::from_values(kernels::random_uniform(len as usize, seed, number))
    }

    /// Standard normal draws (Box-Muller on words 2i and 2i + 1).
    pub fn random_normal(len: u32, seed: u64, number: u64) -> Self {
        Self::from_values(kernels::random_normal(len as usize, seed, number))
    }

    /// Coordinatewise median; of an even number the mean of the two in the middle. All of one length, one at least.
    pub fn median(of: &[&Self]) -> Self {
        Self::from_values(all("vector.median", of, kernels::median))
    }

    /// Coordinatewise mean without the `trim` smallest and the `trim` largest.
    pub fn trimmed_mean(of: &[&Self], trim: u32) -> Self {
        assert!(of.len() as u64 > 2 * u64::from(trim), "vector.trimmed-mean: {trim} at both ends of {}", of.len());
        Self::from_values(all("vector.trimmed-mean", of, |of| kernels::trimmed_mean(of, trim as usize)))
    }
}

fn expect_levels(call: &str, levels: &[f32]) {
    assert!((2..=256).contains(&levels.len()), "{call}: {} levels, 2 to 256 allowed", levels.len());
    assert!(levels.is_sorted_by(|one, next| one < next), "{call}: the levels do not increase");
}

fn all(call: &str, of: &[&Vector], work: impl FnOnce(&[&[f32]]) -> Vec<f32>) -> Vec<f32> {
    assert!(!of.is_empty(), "{call}: 0 vectors");
    let shared: Vec<Rc<Vec<f32>>> = of.iter().map(|vector| vector.shared()).collect();
    shared.iter().for_each(|values| expect_fit(call, shared[0].len(), values.len()));
    work(&shared.iter().map(|values| values.as_slice()).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_apart_and_a_vector_may_meet_itself() {
        let one = Vector::from_values(vec![0.0, 3.0, -4.0, 0.0]);
        let two = one.copy();
        two.axpy(2.0, &one);
        two.axpy(1.0, &two);
        two.scale(0.5);
        assert_eq!(one.values(), [0.0, 3.0, -4.0, 0.0]);
        assert_eq!(two.values(), [0.0, 9.0, -12.0, 0.0]);
        two.paste(1, &two.slice(2, 2));
        assert_eq!(two.values(), [0.0, -12.0, 0.0, 0.0]);
    }

    #[test]
    #[should_panic(expected = "vector.axpy: 4 values on one side, 5 on the other")]
    fn lengths_that_differ_panic_where_the_host_would_trap() {
        Vector::new(4).axpy(1.0, &Vector::new(5));
    }

    #[test]
    #[should_panic(expected = "vector.read: 3 + 2 of 4 values")]
    fn a_range_beyond_a_vector_panics() {
        Vector::new(4).read(3, 2);
    }
}
