//! Kernels that put the values of several vectors in order, coordinate by coordinate.

use wasmtime::component::Resource;

use crate::policy::resources::Vector;
use crate::policy::state::{State, demand, same};

/// Bytes for each vector while a block of coordinates is sorted.
const BLOCK_BYTES: u64 = 1024;
/// Bytes of a comparison of the sorting network.
const COMPARISON_BYTES: u64 = 16;

impl State {
    pub(in crate::policy) fn by_order(
        &mut self,
        call: &'static str,
        of: &[Resource<Vector>],
        trim: u32,
        kernel: impl FnOnce(&[&[f32]]) -> Vec<f32>,
    ) -> wasmtime::Result<Resource<Vector>> {
        let count = of.len() as u64;
        demand(count > 2 * u64::from(trim), || format!("{call}: {trim} trimmed at both ends of {count} vectors"))?;
        let len = self.len_of(&of[0])?;
        for other in &of[1..] {
            same(call, len, self.len_of(other)?)?;
        }
        // Comparisons of a sorting network of the next power of two.
        let steps = u64::from(count.next_power_of_two().trailing_zeros());
        let comparisons = count.next_power_of_two() * steps * (steps + 1) / 4;
        self.spend(call, (u128::from(comparisons) + u128::from(count)) * len as u128)?;
        let _room = self.budget.charge(count * BLOCK_BYTES + comparisons * COMPARISON_BYTES)?;
        let held = of.iter().map(|vector| self.values(vector)).collect::<wasmtime::Result<Vec<_>>>()?;
        let slices: Vec<&[f32]> = held.iter().map(|values| values.as_slice()).collect();
        self.new_vector(len, || kernel(&slices))
    }
}
