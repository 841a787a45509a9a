//! Kernels around quantizing: levels, codes, rotations, random vectors.

use wasmtime::component::Resource;

use crate::policy::charged_buffer::ChargedBuffer;
use crate::policy::error::Refusal;
use crate::policy::resources::Codes;
use crate::policy::resources::Vector;
use crate::policy::state::{State, demand};

/// Operations of a logarithm, a sine and a cosine for two draws, by one draw.
const NORMAL_DRAW: u128 = 32;
/// Operations of sorting and summing one of the values that levels are found from.
const SORTED_VALUE: u128 = 64;
/// Operations of moving one level once.
const MOVED_LEVEL: u128 = 128;
/// Levels are found from at most this many values.
const LEVELS_SAMPLE: usize = 1 << 18;

/// A trap unless these are levels that codes can have.
fn check_levels(call: &str, levels: &[f32]) -> Result<(), Refusal> {
    let count = levels.len();
    demand((2..=256).contains(&count), || format!("{call}: {count} levels, 2 to 256 are allowed"))?;
    // Not the negation of `<`: NaN must not pass.
    match levels.windows(2).find(|pair| !(pair[0] < pair[1] && pair[0].is_finite() && pair[1].is_finite())) {
        None => Ok(()),
        Some(pair) => {
            let reason = format!("{call}: level {} follows {}, levels must be finite and increase", pair[1], pair[0]);
            Err(Refusal::Misuse(reason))
        }
    }
}

impl State {
    pub(in crate::policy) fn codes_of(
        &mut self,
        call: &str,
        this: &Resource<Vector>,
        levels: &[f32],
        kernel: impl FnOnce(&[f32], &[f32]) -> Vec<u8>,
    ) -> wasmtime::Result<Resource<Codes>> {
        check_levels(call, levels)?;
        let values = self.values(this)?;
        let values = values.as_slice();
        let codes = ChargedBuffer::make(values.len(), &self.budget, || kernel(values, levels))?;
        self.push(Codes { bits: cellm_kernels::bits_for(levels.len()), codes })
    }

    pub(in crate::policy) fn best_levels(
        &mut self,
        this: &Resource<Vector>,
        count: u32,
        iterations: u32,
    ) -> wasmtime::Result<Vec<f32>> {
        let call = "vector.lloyd-levels";
        demand((2..=256).contains(&count), || format!("{call}: {count} levels, 2 to 256 are allowed"))?;
        let values = self.values(this)?;
        let sample = values.as_slice().len().min(LEVELS_SAMPLE);
        let moves = u128::from(count) * u128::from(iterations) * MOVED_LEVEL;
        self.spend(call, sample as u128 * SORTED_VALUE + moves)?;
        // The sample and its running sums.
        let _room = self.budget.charge(sample as u64 * 12)?;
        Ok(cellm_kernels::lloyd_levels(values.as_slice(), count as usize, iterations))
    }

    pub(in crate::policy) fn turn(
        &mut self,
        call: &str,
        this: &Resource<Vector>,
        block: u32,
        kernel: impl FnOnce(&mut [f32], usize),
    ) -> wasmtime::Result<()> {
        let len = self.len_of(this)?;
        let fits = block.is_power_of_two() && len.is_multiple_of(block as usize);
        demand(fits, || format!("{call}: blocks of {block} values, a power of two that divides {len} is needed"))?;
        kernel(self.values_mut(this)?, block as usize);
        Ok(())
    }

    pub(in crate::policy) fn normal_draws(
        &mut self,
        len: u32,
        seed: u64,
        number: u64,
    ) -> wasmtime::Result<Resource<Vector>> {
        self.spend("vector.random-normal", u128::from(len) * NORMAL_DRAW)?;
        self.new_vector(len as usize, || cellm_kernels::random_normal(len as usize, seed, number))
    }
}
