//! Pairs of LoRA tensors: which A and which B make one layer's update `scale * B A`, where they lie in the flat vector,
//! and the small matrices that policies make of them. In: a layout. Out: a [`Pair`] for each adapted layer.

use crate::{IndexSet, Layout, PolicyError, Role, TensorInfo, Vector, algebra};

/// A tensor's place in the flat vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Index of its first value.
    pub offset: u32,
    /// Number of values.
    pub len: u32,
}

impl Place {
    /// A copy of the tensor.
    pub fn of(&self, values: &Vector) -> Vector {
        values.slice(self.offset, self.len)
    }

    /// Overwrites the tensor; `part` has its length.
    pub fn put(&self, into: &Vector, part: &Vector) {
        into.paste(self.offset, part);
    }

    /// Adds `factor * part` to the tensor; `part` has its length.
    pub fn add(&self, into: &Vector, factor: f32, part: &Vector) {
        let sum = self.of(into);
        sum.axpy(factor, part);
        self.put(into, &sum);
    }
}

/// A and B of one adapted layer, whose weight is `base + residual + scale * B A`.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    /// Common prefix of its tensors' names, such as `base_model.model.model.layers.0.self_attn.q_proj`.
    pub layer: String,
    /// LoRA A, `[rank, inputs]`.
    pub a: Place,
    /// LoRA B, `[outputs, rank]`.
    pub b: Place,
    /// Rows of A and columns of B.
    pub rank: u32,
    /// Columns of A.
    pub inputs: u32,
    /// Rows of B.
    pub outputs: u32,
    /// `alpha / rank`.
    pub scale: f32,
    /// The trained part of the layer's own weight, `[outputs, inputs]`, where the run has one (`lora.residual = true`).
    pub residual: Option<Place>,
}

/// The pairs of a layout, in the order of their A. A's name ends in `.lora_A.weight`, its partner's in `.lora_B.weight`,
/// the residual's in `.residual.weight`, after the same beginning.
///
/// # Errors
/// A layout without a pair, a tensor without its partner, or shapes that do not fit each other.
pub fn pairs(layout: &Layout) -> Result<Vec<Pair>, PolicyError> {
    let find = |role: Role, name: &str| layout.tensors.iter().find(|tensor| tensor.role == role && tensor.name == name);
    let mut pairs = Vec::new();
    for tensor in &layout.tensors {
        match tensor.role {
            Role::LoraA => {
                let layer = beginning(tensor, ".lora_A.weight")?;
                let partner = format!("{layer}.lora_B.weight");
                let b = find(Role::LoraB, &partner).ok_or_else(|| no_partner(tensor, &partner))?;
                let residual = find(Role::Base, &format!("{layer}.residual.weight"));
                pairs.push(pair(layer, tensor, b, residual)?);
            }
            Role::LoraB => {
                let partner = format!("{}.lora_A.weight", beginning(tensor, ".lora_B.weight")?);
                find(Role::LoraA, &partner).ok_or_else(|| no_partner(tensor, &partner))?;
            }
            _ => {}
        }
    }
    if pairs.is_empty() {
        let found = layout.tensors.len();
        return Err(PolicyError::Other(format!(
            "none of the adapter's {found} tensors is LoRA A or B, a pair is needed"
        )));
    }
    Ok(pairs)
}

/// Checks that every pair has its residual; `policy` names who needs them.
///
/// # Errors
/// Names `lora.residual` and how many pairs lack theirs.
pub fn residuals(policy: &str, pairs: &[Pair]) -> Result<(), PolicyError> {
    let missing = pairs.iter().filter(|pair| pair.residual.is_none()).count();
    if missing == 0 {
        return Ok(());
    }
    let all = pairs.len();
    let message =
        format!("{policy} needs a residual beside each of {all} pairs, {missing} have none: set lora.residual = true");
    Err(PolicyError::Other(message))
}

fn beginning<'a>(tensor: &'a TensorInfo, end: &str) -> Result<&'a str, PolicyError> {
    let wrong =
        || PolicyError::Other(format!("the tensor is named {:?}, a name that ends in {end:?} is needed", tensor.name));
    tensor.name.strip_suffix(end).ok_or_else(wrong)
}

fn no_partner(tensor: &TensorInfo, partner: &str) -> PolicyError {
    PolicyError::Other(format!("the adapter has {}, but not {partner}", tensor.name))
}

fn pair(layer: &str, a: &TensorInfo, b: &TensorInfo, residual: Option<&TensorInfo>) -> Result<Pair, PolicyError> {
    let sides = match (a.shape.as_slice(), b.shape.as_slice()) {
        (&[rank, inputs], &[outputs, columns]) if rank == columns && rank > 0 => Some((rank, inputs, outputs)),
        _ => None,
    };
    let (rank, inputs, outputs) = sides.ok_or_else(|| {
        PolicyError::Other(format!(
            "{layer}: lora_A is {:?} and lora_B {:?}, [r, in] and [out, r] are needed",
            a.shape, b.shape
        ))
    })?;
    if let Some(residual) = residual.filter(|residual| residual.shape != [outputs, inputs]) {
        let found = &residual.shape;
        return Err(PolicyError::Other(format!("{layer}: the residual is {found:?}, B A is [{outputs}, {inputs}]")));
    }
    let place = |tensor: &TensorInfo| Place { offset: tensor.offset, len: tensor.len };
    let (layer, scale, residual) = (layer.into(), a.scale, residual.map(place));
    Ok(Pair { layer, a: place(a), b: place(b), rank, inputs, outputs, scale, residual })
}

impl Pair {
    /// Number of directions (rows of A, columns of B) that a client trains whose tier has this rank; 0 stands for all.
    pub fn trained(&self, tier_rank: u32) -> u32 {
        if tier_rank == 0 { self.rank } else { tier_rank.min(self.rank) }
    }

    /// The first `directions` rows of A: `[directions, inputs]`.
    pub fn factor_a(&self, values: &Vector, directions: u32) -> Vector {
        values.slice(self.a.offset, directions * self.inputs)
    }

    /// The first `directions` columns of B: `[outputs, directions]`.
    pub fn factor_b(&self, values: &Vector, directions: u32) -> Vector {
        if directions == self.rank {
            return self.b.of(values);
        }
        values.gather(&IndexSet::runs(values.len(), self.b.offset, directions, self.rank, self.outputs))
    }

    /// `scale * B A`, `[outputs, inputs]`. Takes O(outputs * rank * inputs).
    pub fn product(&self, values: &Vector) -> Vector {
        let (a, b) = (self.a.of(values), self.b.of(values));
        let product = algebra::matmul(&b, &a, self.outputs, self.rank, self.inputs, false, false);
        product.scale(self.scale);
        product
    }

    /// Frobenius norm of `B A` of the first `directions`, without the scale. It is the root of the sum of the elementwise
    /// product of `B' B` and `A A'`, so nothing larger than `directions x directions` is made.
    pub fn product_norm(&self, values: &Vector, directions: u32) -> f64 {
        let (a, b) = (self.factor_a(values, directions), self.factor_b(values, directions));
        let gram_a = algebra::matmul(&a, &a, directions, self.inputs, directions, false, true);
        let gram_b = algebra::matmul(&b, &b, directions, self.outputs, directions, true, false);
        gram_b.dot(&gram_a).max(0.0).sqrt()
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use crate::harness::Adapter;

    fn message<T>(result: Result<T, PolicyError>) -> String {
        match result {
            Err(PolicyError::Other(message)) => message,
            _ => "no such error".into(),
        }
    }

    #[test]
    fn tensors_are_paired_by_name_wherever_they_lie() {
        let mut layout = Adapter::lora(3, &[(4, 5), (6, 2)]).with_residuals().layout;
        layout.tensors.reverse();
        let pairs = pairs(&layout).unwrap();
        let first = pairs.iter().find(|pair| pair.layer.ends_with("layers.0.proj")).unwrap();
        assert_eq!((first.a, first.b), (Place { offset: 0, len: 15 }, Place { offset: 15, len: 12 }));
        assert_eq!((first.rank, first.inputs, first.outputs, first.scale), (3, 5, 4, 2.0));
        assert_eq!(first.residual, Some(Place { offset: 51, len: 20 }));
        assert!(pairs.len() == 2 && residuals("x", &pairs).is_ok());
    }

    #[test]
    fn what_does_not_pair_names_the_tensor() {
        let mut layout = Adapter::lora(3, &[(4, 5)]).layout;
        layout.tensors[1].shape = vec![4, 2];
        let name = "base_model.model.layers.0.proj";
        let expected = format!("{name}: lora_A is [3, 5] and lora_B [4, 2], [r, in] and [out, r] are needed");
        assert_eq!(message(pairs(&layout)), expected);
        let alone = |keep: usize| Layout { tensors: vec![layout.tensors[keep].clone()], values: 12 };
        assert_eq!(
            message(pairs(&alone(0))),
            format!("the adapter has {name}.lora_A.weight, but not {name}.lora_B.weight")
        );
        assert_eq!(
            message(pairs(&alone(1))),
            format!("the adapter has {name}.lora_B.weight, but not {name}.lora_A.weight")
        );
        let none = Layout { tensors: Vec::new(), values: 0 };
        assert_eq!(message(pairs(&none)), "none of the adapter's 0 tensors is LoRA A or B, a pair is needed");
    }

    #[test]
    fn factors_are_the_first_directions_and_the_norm_is_that_of_their_product() {
        let layout = Adapter::lora(3, &[(4, 5), (6, 2)]).layout;
        let (pair, values) = (&pairs(&layout).unwrap()[1], Vector::random_normal(51, 1, 0));
        for directions in 1..=3 {
            let (a, b) = (pair.factor_a(&values, directions), pair.factor_b(&values, directions));
            assert_eq!(b.read(directions, 1), values.read(pair.b.offset + 3, 1));
            let whole = algebra::matmul(&b, &a, 6, directions, 2, false, false);
            assert!((whole.norm() - pair.product_norm(&values, directions)).abs() < 1e-5);
        }
        assert_eq!((pair.trained(0), pair.trained(2), pair.trained(9)), (3, 2, 3));
        let whole = algebra::matmul(&pair.b.of(&values), &pair.a.of(&values), 6, 3, 2, false, false);
        whole.scale(2.0);
        assert_eq!(whole.values(), pair.product(&values).values());
    }
}
