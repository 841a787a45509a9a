//! The probability of a decision: several guesses, each by what happened in one context before, weighed by how good
//! they were (logistic mixing: Mahoney 2005, "Adaptive weighing of context models for lossless data compression").
//!
//! In: the contexts of a decision. Out: its probability; then the decision itself, from which guesses and weights learn.
//! Everything is f32 arithmetic without a function that a platform could round otherwise.

use crate::range::Binary;

/// Step size of the weights.
const LEARNING_RATE: f32 = 0.008;

/// So many decisions are needed to trust a new context as much as the general one, from which it starts.
const TRUST: f32 = 4.0;

/// A guess never follows the last decision with less than one part in so many.
const MEMORY: u16 = 400;

/// Probabilities stay this far from 0 and 1.
const LEAST: f32 = 1.0 / 4096.0;

/// Steps of a probability for which logits are kept.
const STEPS: usize = 1 << 12;

/// Logits are cut here, beyond what [`LEAST`] allows.
const FAR: f32 = 8.5;

/// Steps of a logit of 1 for which probabilities are kept.
const FINE: f32 = 128.0;

/// Tables for every decision, computed once for a run.
#[derive(Debug)]
pub struct Tables {
    /// `ln(p / (1 - p))` in the middle of each step of p.
    logits: Vec<f32>,
    /// `1 / (1 + exp(-x))` in the middle of each step of x, from `-FAR` to `FAR`.
    probabilities: Vec<f32>,
    /// Step size of a guess towards a decision, by the number of decisions that it has seen.
    rates: Vec<f32>,
}

impl Tables {
    pub fn new() -> Self {
        let middle = |step: usize| (step as f32 + 0.5) / STEPS as f32;
        let logit = |p: f32| logarithm(p) - logarithm(1.0 - p);
        Self {
            logits: (0..STEPS).map(|step| logit(middle(step))).collect(),
            probabilities: (0..(2.0 * FAR * FINE) as usize)
                .map(|step| logistic((step as f32 + 0.5) / FINE - FAR).clamp(LEAST, 1.0 - LEAST))
                .collect(),
            rates: (0..=MEMORY).map(|seen| 1.0 / (f32::from(seen) + TRUST)).collect(),
        }
    }

    /// `ln(p / (1 - p))`, to a step.
    fn logit(&self, p: f32) -> f32 {
        self.logits[((p * STEPS as f32) as usize).min(STEPS - 1)]
    }

    /// `1 / (1 + exp(-logit))`, to a step.
    fn probability(&self, logit: f32) -> f32 {
        // A conversion of f32 to an integer saturates.
        self.probabilities[(((logit + FAR) * FINE) as usize).min(self.probabilities.len() - 1)]
    }
}

/// The counts of one context.
#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    /// Estimate of the probability of true.
    p: f32,
    seen: u16,
}

/// A kind of decision with `N` contexts at a time, numbers below the sizes that [`Mixer::new`] was given.
#[derive(Debug)]
pub struct Mixer<'a, const N: usize> {
    tables: &'a Tables,
    cells: [Vec<Cell>; N],
    /// A weight for each guess, by set.
    weights: Vec<[f32; N]>,
    /// Before anything is known.
    prior: f32,
}

impl<'a, const N: usize> Mixer<'a, N> {
    /// `sizes`: how many contexts of each sort there are; `sets` of weights; `prior` for the first decision.
    pub fn new(tables: &'a Tables, sizes: [usize; N], sets: usize, prior: f32) -> Self {
        Self {
            tables,
            cells: sizes.map(|size| vec![Cell::default(); size]),
            weights: vec![[1.0 / N as f32; N]; sets],
            prior: prior.clamp(LEAST, 1.0 - LEAST),
        }
    }

    /// Codes one decision in these contexts, the first of which should be the most general: where another is new, it is
    /// asked instead.
    pub fn code(&mut self, coder: &mut impl Binary, contexts: [usize; N], set: usize, decision: bool) -> bool {
        let general = self.cells[0][contexts[0]];
        let general = if general.seen == 0 { self.prior } else { general.p };
        let weights = &mut self.weights[set];
        let mut guesses = [0.0; N];
        let mut sum = 0.0;
        for number in 0..N {
            let cell = &mut self.cells[number][contexts[number]];
            if cell.seen == 0 {
                cell.p = general;
            }
            guesses[number] = self.tables.logit(cell.p);
            sum += weights[number] * guesses[number];
        }
        let p = self.tables.probability(sum);
        let decision = coder.code((p * 65_536.0) as u32, decision);
        let target = if decision { 1.0 } else { 0.0 };
        for number in 0..N {
            weights[number] += LEARNING_RATE * (target - p) * guesses[number];
            let cell = &mut self.cells[number][contexts[number]];
            cell.p += (target - cell.p) * self.tables.rates[usize::from(cell.seen)];
            cell.seen = (cell.seen + 1).min(MEMORY);
        }
        decision
    }
}

/// `1 / (1 + exp(-x))`.
fn logistic(x: f32) -> f32 {
    1.0 / (1.0 + exponential(-x))
}

/// The natural logarithm of a positive normal number, to about 1e-4.
fn logarithm(x: f32) -> f32 {
    let bits = x.to_bits();
    let exponent = (bits >> 23) as i32 - 127;
    // In [1, 2): ln m by the series of atanh at (m - 1) / (m + 1).
    let mantissa = f32::from_bits(bits & 0x007f_ffff | 0x3f80_0000);
    let t = (mantissa - 1.0) / (mantissa + 1.0);
    let square = t * t;
    let series = 2.0 * t * (1.0 + square * (1.0 / 3.0 + square * (0.2 + square * (1.0 / 7.0))));
    exponent as f32 * std::f32::consts::LN_2 + series
}

/// `exp(x)`, to about 1e-4 of itself; `x` is cut to [-20, 20].
fn exponential(x: f32) -> f32 {
    let scaled = x.clamp(-20.0, 20.0) * std::f32::consts::LOG2_E;
    let whole = scaled.floor();
    let part = (scaled - whole) * std::f32::consts::LN_2;
    let series = 1.0 + part * (1.0 + part * (0.5 + part * (1.0 / 6.0 + part * (1.0 / 24.0 + part * (1.0 / 120.0)))));
    series * f32::from_bits(((whole as i32 + 127) as u32) << 23)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::range::{Decoder, Encoder};

    #[test]
    fn logarithm_and_exponential_are_near() {
        for step in 1..4_000 {
            let x = step as f32 / 4_000.0;
            assert!((logarithm(x) - x.ln()).abs() < 2e-4, "{x}");
            let y = (x - 0.5) * 40.0;
            assert!((exponential(y) / y.exp() - 1.0).abs() < 2e-4, "{y}");
        }
    }

    #[test]
    fn what_a_context_tells_is_learnt() {
        // The decision is the parity of the context, nine times of ten; the other context tells nothing.
        let decided =
            |step: u32| (step % 7).is_multiple_of(2) != (step.wrapping_mul(2_654_435_761) >> 16).is_multiple_of(10);
        let (tables, mut encoder) = (Tables::new(), Encoder::new());
        let mut mixer = Mixer::new(&tables, [1, 7, 3], 1, 0.5);
        let at = |step: u32| [0, (step % 7) as usize, (step % 3) as usize];
        for step in 0..20_000 {
            mixer.code(&mut encoder, at(step), 0, decided(step));
        }
        let bytes = encoder.finish();
        // 0.469 bits each.
        assert!(bytes.len() < 1_260, "{} bytes", bytes.len());
        let mut decoder = Decoder::new(&bytes);
        let mut mixer = Mixer::new(&tables, [1, 7, 3], 1, 0.5);
        (0..20_000).for_each(|step| assert_eq!(mixer.code(&mut decoder, at(step), 0, false), decided(step)));
    }
}
