//! Products of rows of numbers with one vector, for the few rows of input that a generated token has: each weight is
//! read once, so a matrix product that packs its operands first would double the work.

use super::exp::sum;
use super::simd::{Lane, Loop, run};

/// Sums that a row is spread over, so that none waits for the one before.
const SUMS: usize = 4;

/// Writes the product of each row with `input`, which is as long as a row; `value` makes a number of what is stored.
pub(crate) fn write_number_products<'a, T: 'a>(
    rows: impl Iterator<Item = &'a [T]>,
    value: impl Fn(&T) -> f32,
    input: &[f32],
    to: &mut [f32],
) {
    run(Products { rows, value, input, to });
}

struct Products<'a, I, F> {
    rows: I,
    value: F,
    input: &'a [f32],
    to: &'a mut [f32],
}

impl<'r, T: 'r, I: Iterator<Item = &'r [T]>, F: Fn(&T) -> f32> Loop for Products<'_, I, F> {
    #[inline(always)]
    fn run(self) {
        let (inputs, input_rest) = self.input.as_chunks::<{ 8 * SUMS }>();
        for (row, to) in self.rows.zip(self.to) {
            let (row, row_rest) = row.as_chunks::<{ 8 * SUMS }>();
            let mut sums: [Lane; SUMS] = [[0.0; 8]; SUMS];
            for (row, input) in row.iter().zip(inputs) {
                for (number, sum) in sums.iter_mut().enumerate() {
                    for (lane, sum) in sum.iter_mut().enumerate() {
                        let at = 8 * number + lane;
                        *sum = (self.value)(&row[at]).mul_add(input[at], *sum);
                    }
                }
            }
            let rest = row_rest.iter().zip(input_rest).map(|(value, input)| (self.value)(value) * input).sum::<f32>();
            let [first, second, third, fourth] = sums;
            let lanes: Lane = std::array::from_fn(|lane| (first[lane] + second[lane]) + (third[lane] + fourth[lane]));
            *to = sum(&lanes) + rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_is_multiplied_whatever_its_length() {
        for width in [1, 7, 8, 31, 32, 33, 100] {
            let rows: Vec<f32> = (0..3 * width).map(|at| (at as f32 * 0.37).sin()).collect();
            let input: Vec<f32> = (0..width).map(|at| (at as f32 * 0.73).cos()).collect();
            let mut found = [0.0; 3];
            write_number_products(rows.chunks_exact(width), |value| *value, &input, &mut found);
            for (row, found) in rows.chunks_exact(width).zip(found) {
                let expected: f64 = row.iter().zip(&input).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                assert!((f64::from(found) - expected).abs() < 1e-5, "{width}: {found} is not {expected}");
            }
        }
    }
}
