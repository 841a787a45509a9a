//! GELU (Hendrycks and Gimpel 2016): `x * P(normal <= x)`, exact or in the tanh approximation of its paper, which is `x
//! * sigmoid(2 u)`, since `1 + tanh(u) = 2 sigmoid(2 u)`.

use std::f32::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

use burn::tensor::{Tensor, activation};

use super::exp::{exp, sigmoid};
use super::simd::{Loop, run};
use super::{HostValues, Place, edit};

/// The exact GELU, or its tanh approximation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GeluKind {
    Exact,
    Tanh,
}

/// `2 sqrt(2 / pi)`, and its product with the cubic term's 0.044715.
const LINEAR: f32 = 2.0 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2;
const CUBIC: f32 = 0.044_715 * LINEAR;
/// `1 / sqrt(2 pi)`, the height of the normal density.
const HEIGHT: f32 = 0.5 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2;

/// The GELU of `[rows, columns]`, to the same shape.
pub(super) fn gelu(kind: GeluKind, x: &Tensor<2>, place: &Place) -> Tensor<2> {
    if place.host {
        return edit(x.clone(), |values| run(Forward { kind, values }));
    }
    let share = share_on_device(kind, x.clone());
    x.clone() * share
}

/// The gradient of the input `x`, given that of the output.
pub(super) fn gelu_backward(kind: GeluKind, x: Tensor<2>, gradient: Tensor<2>, place: &Place) -> Tensor<2> {
    if place.host {
        let x = HostValues::of(&x);
        return edit(gradient, |gradient| run(Backward { kind, x: x.slice(), gradient }));
    }
    let share = share_on_device(kind, x.clone());
    let slope = match kind {
        GeluKind::Exact => (x.clone().square() * -0.5).exp() * HEIGHT,
        GeluKind::Tanh => share.clone() * (share.clone().neg() + 1.0) * (x.clone().square() * (3.0 * CUBIC) + LINEAR),
    };
    gradient * (share + x * slope)
}

/// The factor of `x`.
fn share_on_device(kind: GeluKind, x: Tensor<2>) -> Tensor<2> {
    match kind {
        GeluKind::Exact => ((x * FRAC_1_SQRT_2).erf() + 1.0) * 0.5,
        GeluKind::Tanh => activation::sigmoid(x.clone() * (x.square() * CUBIC + LINEAR)),
    }
}

struct Forward<'a> {
    kind: GeluKind,
    values: &'a mut [f32],
}

impl Loop for Forward<'_> {
    #[inline(always)]
    fn run(self) {
        match self.kind {
            GeluKind::Exact => self.values.iter_mut().for_each(|x| *x *= normal(*x).0),
            GeluKind::Tanh => self.values.iter_mut().for_each(|x| *x *= share(*x)),
        }
    }
}

struct Backward<'a> {
    kind: GeluKind,
    x: &'a [f32],
    gradient: &'a mut [f32],
}

impl Loop for Backward<'_> {
    #[inline(always)]
    fn run(self) {
        let values = self.gradient.iter_mut().zip(self.x);
        match self.kind {
            GeluKind::Exact => values.for_each(|(gradient, x)| {
                let (below, density) = normal(*x);
                *gradient *= below + x * density;
            }),
            GeluKind::Tanh => values.for_each(|(gradient, x)| {
                let share = share(*x);
                *gradient *= share + x * share * (1.0 - share) * (LINEAR + 3.0 * CUBIC * x * x);
            }),
        }
    }
}

/// The factor of `x` in the tanh approximation.
#[inline(always)]
fn share(x: f32) -> f32 {
    sigmoid(x * (LINEAR + CUBIC * x * x))
}

/// The normal distribution function at `x`, to 1e-7, and its density there (Abramowitz and Stegun, 7.1.26).
#[inline(always)]
fn normal(x: f32) -> (f32, f32) {
    let t = 1.0 / (1.0 + 0.327_591_1 * FRAC_1_SQRT_2 * x.abs());
    let tail = 1.061_405_4 * t - 1.453_152;
    let tail = tail * t + 1.421_413_7;
    let tail = tail * t - 0.284_496_74;
    let tail = tail * t + 0.254_829_6;
    let bell = exp(-0.5 * x * x);
    let beyond = 0.5 * tail * t * bell;
    (if x < 0.0 { beyond } else { 1.0 - beyond }, HEIGHT * bell)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `x` from -8 to 8.
    fn inputs() -> Vec<f32> {
        (-800..=800).map(|step| step as f32 * 0.01).collect()
    }

    fn on(place: &Place, kind: GeluKind) -> [Vec<f32>; 2] {
        let (x, count) = (inputs(), inputs().len());
        let ones = place.tensor(vec![1.0; count], [1, count]);
        let x = place.tensor(x, [1, count]);
        let tensors = [gelu(kind, &x, place), gelu_backward(kind, x, ones, place)];
        tensors.map(|tensor| tensor.into_data().try_into_vec().unwrap())
    }

    #[test]
    fn both_kinds_agree_with_their_formulas() {
        let exact = |x: f64| 0.5 * x * (1.0 + libm::erf(x / 2f64.sqrt()));
        let tanh = |x: f64| 0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh());
        let formulas: [(GeluKind, &dyn Fn(f64) -> f64); 2] = [(GeluKind::Exact, &exact), (GeluKind::Tanh, &tanh)];
        for (kind, formula) in formulas {
            let [values, slopes] = on(&Place::cpu(), kind);
            for ((x, value), slope) in inputs().into_iter().zip(values).zip(slopes) {
                let x = f64::from(x);
                let expected = (formula(x + 1e-5) - formula(x - 1e-5)) / 2e-5;
                assert!((f64::from(value) - formula(x)).abs() < 1e-6, "{kind:?} of {x} is {value}");
                assert!((f64::from(slope) - expected).abs() < 2e-6, "slope of {kind:?} at {x} is {slope}");
            }
        }
    }

    #[test]
    fn tensor_operations_give_what_slices_give() {
        for kind in [GeluKind::Exact, GeluKind::Tanh] {
            let [host, device] = [true, false].map(|host| on(&Place { host, ..Place::cpu() }, kind));
            for (left, right) in host.iter().flatten().zip(device.iter().flatten()) {
                assert!((left - right).abs() < 2e-6, "{left} is not {right}");
            }
        }
    }
}
