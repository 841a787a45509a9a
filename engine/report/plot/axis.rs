//! Axes: the range that holds all values, round tick values, and the place of a value in the picture.

use super::super::format::tick_bytes;

/// The unit of an axis's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Plain numbers.
    Number,
    /// Whole numbers: no ticks between them.
    Count,
    /// Bytes, labelled in kB, MB, ...
    Bytes,
}

/// The mapping from values to distances along an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Equal differences, equal distances.
    Linear,
    /// Equal ratios, equal distances; values of zero and less are not shown.
    Log,
}

/// One axis of a plot.
#[derive(Debug, Clone)]
pub struct Axis {
    /// Name with its unit.
    pub name: String,
    /// The unit of its numbers.
    pub unit: Unit,
    /// Its scale, linear or logarithmic.
    pub scale: Scale,
}

impl Axis {
    /// True for a value that the axis can show: finite, and above 0 on a logarithmic scale.
    pub fn shows(&self, value: f64) -> bool {
        value.is_finite() && (self.scale == Scale::Linear || value > 0.0)
    }

    /// The name as printed.
    pub fn title(&self) -> String {
        match self.scale {
            Scale::Linear => self.name.clone(),
            Scale::Log => format!("{}, log scale", self.name),
        }
    }

    /// The range of `values` (not empty, all shown) laid over the picture from `start` to `end`.
    pub fn range(&self, values: &[f64], start: f64, end: f64) -> Range {
        let values = values.iter().filter(|value| self.shows(**value)).map(|value| self.scale.forward(*value));
        let (mut low, mut high) =
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        let margin = (high - low) * 0.04;
        if high - low < 1e-9 * high.abs().max(1e-3) {
            let around = if self.scale == Scale::Log { 0.3 } else { (high.abs() * 0.1).max(0.5) };
            low -= around;
            high += around;
        } else if low != 0.0 || self.scale == Scale::Log {
            low -= margin;
        }
        high += margin;
        Range { unit: self.unit, scale: self.scale, low, high, start, end }
    }
}

impl Scale {
    fn forward(self, value: f64) -> f64 {
        match self {
            Scale::Linear => value,
            Scale::Log => value.log10(),
        }
    }
}

/// An axis with its limits in the picture.
#[derive(Debug, Clone)]
pub struct Range {
    unit: Unit,
    scale: Scale,
    low: f64,
    high: f64,
    start: f64,
    end: f64,
}

impl Range {
    /// A value's coordinate in the picture, in pixels.
    pub fn place(&self, value: f64) -> f64 {
        let share = (self.scale.forward(value) - self.low) / (self.high - self.low);
        self.start + share * (self.end - self.start)
    }

    /// Round values inside the limits with their labels.
    pub fn ticks(&self) -> Vec<(f64, String)> {
        let values = match self.scale {
            Scale::Linear => linear(self.low, self.high, if self.unit == Unit::Count { 1.0 } else { 0.0 }),
            Scale::Log => log(self.low, self.high),
        };
        let step = values.windows(2).map(|pair| pair[1] - pair[0]).fold(f64::INFINITY, f64::min);
        let decimals = if step.is_finite() { (-step.log10().floor()).clamp(0.0, 9.0) as usize } else { 2 };
        let label = |value: f64| match self.unit {
            Unit::Bytes => tick_bytes(value),
            Unit::Number => format!("{value:.decimals$}"),
            Unit::Count => format!("{value:.0}"),
        };
        values.into_iter().map(|value| (value, label(value))).collect()
    }
}

/// Round values at least `least` apart.
fn linear(low: f64, high: f64, least: f64) -> Vec<f64> {
    let span = high - low;
    let power = 10f64.powf(span.log10().floor());
    // The widest round step that gives at least four gaps.
    let steps = [5.0, 2.0, 1.0, 0.5, 0.2].map(|factor| factor * power);
    let step = steps.into_iter().find(|step| span / step >= 4.0).unwrap_or(span).max(least);
    let first = (low / step).ceil() as i64;
    (first..).map(|n| n as f64 * step).take_while(|value| *value <= high).take(20).collect()
}

fn log(low: f64, high: f64) -> Vec<f64> {
    let (first, last) = (low.floor() as i32, high.ceil() as i32);
    let factors: &[f64] = match last - first {
        0..=3 => &[1.0, 2.0, 5.0],
        4..=5 => &[1.0, 3.0],
        _ => &[1.0],
    };
    (first..=last)
        .flat_map(|power| factors.iter().map(move |factor| factor * 10f64.powi(power)))
        .filter(|value| (low..=high).contains(&value.log10()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside_the_limits() {
        assert_eq!(linear(0.0, 30.0, 1.0), [0.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0]);
        assert_eq!(linear(2.81, 4.4, 0.0).len(), 8);
        assert_eq!(linear(0.0, 2.0, 1.0), [0.0, 1.0, 2.0]);
        assert_eq!(log(5.0, 7.0).first(), Some(&1e5));
        assert!(log(5.3, 5.5).len() <= 2);
        let axis = Axis { name: "round".into(), unit: Unit::Count, scale: Scale::Linear };
        let range = axis.range(&[0.0, 30.0], 0.0, 100.0);
        assert_eq!(range.place(0.0), 0.0);
        assert!(range.place(30.0) < 100.0);
        assert_eq!(range.ticks()[1].1, "5");
    }
}
