//! SwiGLU (Shazeer 2020): `silu(gate) * up`, from one matrix that has the gate's columns first and then up's.

use burn::tensor::{Tensor, activation};

use super::{Place, exp::sigmoid};

/// `[rows, 2 * columns]` to `[rows, columns]`.
pub(crate) fn swiglu(gate_up: &Tensor<2>, place: &Place) -> Tensor<2> {
    let [rows, width] = gate_up.dims();
    let columns = width / 2;
    if !place.host {
        let gate = gate_up.clone().slice([0..rows, 0..columns]);
        return activation::silu(gate) * gate_up.clone().slice([0..rows, columns..width]);
    }
    let data = gate_up.to_data();
    let Ok(values) = data.as_slice::<f32>() else { unreachable!("tensors of this room are f32") };
    let mut out = vec![0.0; rows * columns];
    for (row, out) in values.chunks_exact(width).zip(out.chunks_exact_mut(columns)) {
        let (gate, up) = row.split_at(columns);
        for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
            *out = gate * sigmoid(*gate) * up;
        }
    }
    place.tensor(out, [rows, columns])
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
    let gradient = gradient.into_data();
    let Ok(gradient) = gradient.as_slice::<f32>() else { unreachable!("tensors of this room are f32") };
    super::edit(gate_up, |values| {
        for (row, gradient) in values.chunks_exact_mut(width).zip(gradient.chunks_exact(columns)) {
            let (gate, up) = row.split_at_mut(columns);
            for ((gate, up), gradient) in gate.iter_mut().zip(up).zip(gradient) {
                let sigmoid = sigmoid(*gate);
                let silu = *gate * sigmoid;
                *gate = gradient * *up * (sigmoid + silu * (1.0 - sigmoid));
                *up = gradient * silu;
            }
        }
    })
}
