//! The activation of the layer between the hidden state and the classes.

use burn::tensor::{Tensor, activation};

use super::exp::sigmoid;
use super::{HostValues, Place, edit};

/// The activation of a family's pooler, or of the first layer of its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PoolerActivation {
    /// The hyperbolic tangent, `2 sigmoid(2 x) - 1`.
    Tanh,
    /// `max(x, 0)`.
    Relu,
}

impl PoolerActivation {
    /// The activation of `[rows, columns]`, to the same shape. NaN stays NaN.
    pub fn forward(self, x: Tensor<2>, place: &Place) -> Tensor<2> {
        match (self, place.host) {
            (Self::Tanh, true) => edit(x, |values| values.iter_mut().for_each(|x| *x = 2.0 * sigmoid(2.0 * *x) - 1.0)),
            (Self::Relu, true) => edit(x, |values| values.iter_mut().filter(|x| **x < 0.0).for_each(|x| *x = 0.0)),
            (Self::Tanh, false) => x.tanh(),
            (Self::Relu, false) => activation::relu(x),
        }
    }

    /// The gradient of the input, given the output and its gradient.
    pub fn backward(self, output: &Tensor<2>, gradient: Tensor<2>, place: &Place) -> Tensor<2> {
        let slope = |output: f32| match self {
            Self::Tanh => 1.0 - output * output,
            Self::Relu if output > 0.0 => 1.0,
            Self::Relu => 0.0,
        };
        if place.host {
            let output = HostValues::of(output);
            return edit(gradient, |gradient| {
                let values = gradient.iter_mut().zip(output.slice());
                values.for_each(|(gradient, output)| *gradient *= slope(*output));
            });
        }
        match self {
            Self::Tanh => gradient * (output.clone().square().neg() + 1.0),
            Self::Relu => gradient.mask_fill(output.clone().lower_equal_elem(0.0), 0.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [PoolerActivation; 2] = [PoolerActivation::Tanh, PoolerActivation::Relu];

    /// `x` from -8 to 8, none of them 0.
    fn inputs() -> Vec<f32> {
        (-400..400).map(|step| step as f32 * 0.02 + 0.01).collect()
    }

    fn on(place: &Place, kind: PoolerActivation) -> [Vec<f32>; 2] {
        let count = inputs().len();
        let output = kind.forward(place.tensor(inputs(), [1, count]), place);
        let slope = kind.backward(&output, place.tensor(vec![1.0; count], [1, count]), place);
        [output, slope].map(|tensor| tensor.into_data().try_into_vec().unwrap())
    }

    #[test]
    fn values_are_those_of_the_formulas_and_slopes_those_of_finite_differences() {
        for (kind, formula) in KINDS.into_iter().zip([f64::tanh, |x: f64| x.max(0.0)]) {
            for place in [Place::cpu(), Place { host: false, ..Place::cpu() }] {
                let [values, slopes] = on(&place, kind);
                for ((x, value), slope) in inputs().into_iter().map(f64::from).zip(values).zip(slopes) {
                    let expected = (formula(x + 1e-5) - formula(x - 1e-5)) / 2e-5;
                    assert!((f64::from(value) - formula(x)).abs() < 1e-6, "{kind:?} of {x} is {value}");
                    assert!((f64::from(slope) - expected).abs() < 2e-6, "slope of {kind:?} at {x} is {slope}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_number_stays_none() {
        for kind in KINDS {
            let place = Place::cpu();
            let found: Vec<f32> =
                kind.forward(place.tensor(vec![f32::NAN; 2], [1, 2]), &place).into_data().try_into_vec().unwrap();
            assert!(found.iter().all(|value| value.is_nan()), "{kind:?}");
        }
    }
}
