//! The values that a number of the config may have: a value in, the first number outside of the range out.

use std::fmt;
use std::ops::Bound::{self, Excluded, Included};

use figment::value::{Num, Value};

/// An interval of numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Range {
    low: Bound<f64>,
    high: Bound<f64>,
}

impl Range {
    pub(super) const fn from_to(low: f64, high: f64) -> Self {
        Self { low: Included(low), high: Included(high) }
    }

    pub(super) const fn above_zero(high: f64) -> Self {
        Self { low: Excluded(0.0), high: Included(high) }
    }

    pub(super) const fn below_one() -> Self {
        Self { low: Included(0.0), high: Excluded(1.0) }
    }

    pub(super) const fn between_zero_and_one() -> Self {
        Self { low: Excluded(0.0), high: Excluded(1.0) }
    }

    /// The first number of a value that is not in the range, as it was written.
    pub(super) fn first_outside(&self, value: &Value) -> Option<String> {
        match value {
            Value::Num(_, number) => (!self.holds(size(number))).then(|| shown(number)),
            Value::Array(_, items) => items.iter().find_map(|item| self.first_outside(item)),
            Value::Dict(_, entries) => entries.values().find_map(|entry| self.first_outside(entry)),
            _ => None,
        }
    }

    /// True where a number lies in it; NaN never does.
    pub(super) fn holds(&self, number: f64) -> bool {
        let above = match self.low {
            Included(low) => number >= low,
            Excluded(low) => number > low,
            Bound::Unbounded => true,
        };
        let below = match self.high {
            Included(high) => number <= high,
            Excluded(high) => number < high,
            Bound::Unbounded => true,
        };
        above && below && number.is_finite()
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |number: f64| if number > 1e15 { format!("{number:e}") } else { number.to_string() };
        match self.low {
            Included(low) => write!(f, "[{}, ", number(low))?,
            Excluded(low) => write!(f, "({}, ", number(low))?,
            Bound::Unbounded => f.write_str("(-inf, ")?,
        }
        match self.high {
            Included(high) => write!(f, "{}]", number(high)),
            Excluded(high) => write!(f, "{})", number(high)),
            Bound::Unbounded => f.write_str("inf)"),
        }
    }
}

fn size(number: &Num) -> f64 {
    match number {
        Num::F32(number) => f64::from(*number),
        Num::F64(number) => *number,
        whole => whole
            .to_u128()
            .map(|whole| whole as f64)
            .or_else(|| whole.to_i128().map(|whole| whole as f64))
            .unwrap_or(f64::NAN),
    }
}

fn shown(number: &Num) -> String {
    match number {
        // Printed from its own width: 0.002 in single precision is 0.002.
        Num::F32(number) => number.to_string(),
        Num::F64(number) => number.to_string(),
        whole => whole
            .to_u128()
            .map(|whole| whole.to_string())
            .or_else(|| whole.to_i128().map(|whole| whole.to_string()))
            .unwrap_or_default(),
    }
}
