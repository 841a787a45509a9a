//! Eight bits a value: each tensor has a scale of its own, its largest magnitude over 127. The scales travel beside the codes.

use cellm_plugin::{Layout, Message, Packed, PolicyError, Unpacked, Vector};

/// Coding of eight bits: the tensors' places, and the rounding of values between two levels.
pub struct Int8 {
    /// Name, offset and length of each tensor.
    tensors: Vec<(String, u32, u32)>,
    stochastic: bool,
}

/// The levels -127 to 127 times the scale: zero is one of them, and none is beyond the largest magnitude.
fn levels(scale: f32) -> Vec<f32> {
    (-127_i16..=127).map(|level| f32::from(level) * scale).collect()
}

impl Int8 {
    /// For the tensors of this layout.
    pub fn new(layout: &Layout, stochastic: bool) -> Self {
        let tensors = layout.tensors.iter().map(|tensor| (tensor.name.clone(), tensor.offset, tensor.len));
        Self { tensors: tensors.collect(), stochastic }
    }

    /// One part with all scales, then the codes of each tensor.
    pub fn encode(&self, seed: u64, values: &Vector, into: &Message) -> Result<(), PolicyError> {
        let mut scales = Vec::with_capacity(self.tensors.len());
        for (name, offset, len) in &self.tensors {
            let largest = values.slice(*offset, *len).max_abs();
            if !largest.is_finite() {
                return Err(PolicyError::Other(format!("tensor {name} holds a value that is not finite")));
            }
            // A tensor of zeros, or of next to nothing, needs levels too: any do.
            let mut scale = largest / 127.0;
            // Rounded up at the end of the range, the outermost level would be infinite.
            while (127.0 * scale).is_infinite() {
                scale = scale.next_down();
            }
            scales.push(if scale.is_normal() { scale } else { 1.0 });
        }
        into.put_bytes(&Packed::default().f32s(&scales).bytes());
        for (number, ((_, offset, len), scale)) in self.tensors.iter().zip(scales).enumerate() {
            let (tensor, levels) = (values.slice(*offset, *len), levels(scale));
            let codes = if self.stochastic {
                tensor.quantize_stochastic(&levels, seed, number as u64)
            } else {
                tensor.quantize(&levels)
            };
            into.put_codes(&codes);
        }
        Ok(())
    }

    /// The inverse, up to rounding.
    pub fn decode(&self, values: u32, message: &Message) -> Result<Vector, PolicyError> {
        let bytes = message.take_bytes()?;
        let mut unpacked = Unpacked::new(&bytes);
        let scales = unpacked.f32s(self.tensors.len())?;
        unpacked.end()?;
        let whole = Vector::new(values);
        for ((_, offset, len), scale) in self.tensors.iter().zip(scales) {
            let tensor = message.take_codes(8, *len)?.dequantize(&levels(scale)).map_err(PolicyError::BadMessage)?;
            whole.paste(*offset, &tensor);
        }
        Ok(whole)
    }
}
