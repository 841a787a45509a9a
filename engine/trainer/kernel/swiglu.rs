//! SwiGLU (Shazeer 2020): `silu(gate) * up`, from one matrix that has the gate's columns first and then up's.

use burn::tensor::{Tensor, activation};

use super::exp::sigmoid;
use super::simd::{Loop, run};
use super::{HostValues, Place, edit};

/// `[rows, 2 * columns]` to `[rows, columns]`.
pub(crate) fn swiglu(gate_up: &Tensor<2>, place: &Place) -> Tensor<2> {
    let [rows, width] = gate_up.dims();
    let columns = width / 2;
    if !place.host {
        let gate = gate_up.clone().slice([0..rows, 0..columns]);
        return activation::silu(gate) * gate_up.clone().slice([0..rows, columns..width]);
    }
    let mut out = vec![0.0; rows * columns];
    run(Forward { gate_up: HostValues::of(gate_up).slice(), out: &mut out, columns });
    place.tensor(out, [rows, columns])
}

struct Forward<'a> {
    gate_up: &'a [f32],
    out: &'a mut [f32],
    columns: usize,
}

impl Loop for Forward<'_> {
    #[inline(always)]
    fn run(self) {
        for (row, out) in self.gate_up.chunks_exact(2 * self.columns).zip(self.out.chunks_exact_mut(self.columns)) {
            let (gate, up) = row.split_at(self.columns);
            for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
                *out = gate * sigmoid(*gate) * up;
            }
        }
    }
}

/// The gradient of `gate_up`, given that of the output.
pub(crate) fn swiglu_backward(gate_up: Tensor<2>, gradient: Tensor<2>, place: &Place) -> Tensor<2> {
    let [rows, width] = gate_up.dims();
    let columns = width / 2;
    if !place.host {
        let gate = gate_up.clone().slice([0..rows, 0..columns]);
        let up = gate_up.slice([0..rows, columns..width]);
        let sigmoid = activation::sigmoid(gate.clone());
        let silu = gate * sigmoid.clone();
        let slope = sigmoid.clone() + silu.clone() * (sigmoid.neg() + 1.0);
        return Tensor::cat(vec![gradient.clone() * up * slope, gradient * silu], 1);
    }
    let gradient = HostValues::of(&gradient);
    edit(gate_up, |gate_up| run(Backward { gate_up, gradient: gradient.slice(), columns }))
}

struct Backward<'a> {
    gate_up: &'a mut [f32],
    gradient: &'a [f32],
    columns: usize,
}

impl Loop for Backward<'_> {
    #[inline(always)]
    fn run(self) {
        let rows = self.gate_up.chunks_exact_mut(2 * self.columns).zip(self.gradient.chunks_exact(self.columns));
        for (row, gradient) in rows {
            let (gate, up) = row.split_at_mut(self.columns);
            for ((gate, up), gradient) in gate.iter_mut().zip(up).zip(gradient) {
                let sigmoid = sigmoid(*gate);
                let silu = *gate * sigmoid;
                *gate = gradient * *up * (sigmoid + silu * (1.0 - sigmoid));
                *up = gradient * silu;
            }
        }
    }
}
