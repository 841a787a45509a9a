//! The tensors of a GGUF file by their names in Hugging Face checkpoints, checked against the model's spec: every one
//! that it needs has to be there in its shape, and no other may be.

use std::collections::BTreeMap;

use super::architecture::Architecture;
use super::block_type::BlockType;
use super::file::{GgufFile, GgufTensor};
use super::rows::{RowOrder, StoredRows};
use crate::trainer::family::Spec;
use crate::trainer::weights::TensorEntry;

/// The factors of a Llama 3's slow rotary pairs.
const ROPE_FACTORS: &str = "rope_freqs.weight";

/// Modules of the model: the name in files, the name in checkpoints.
const OUTSIDE: [(&str, &str); 3] =
    [("token_embd", "model.embed_tokens"), ("output_norm", "model.norm"), ("output", "lm_head")];

/// Modules of a block.
const INSIDE: [(&str, &str); 11] = [
    ("attn_norm", "input_layernorm"),
    ("ffn_norm", "post_attention_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("attn_q_norm", "self_attn.q_norm"),
    ("attn_k_norm", "self_attn.k_norm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];

/// The name in a file of a module of a block, such as `attn_q` of `self_attn.q_proj`.
pub(in crate::trainer) fn module_in_file(path: &str) -> Option<&'static str> {
    INSIDE.iter().find(|(_, known)| *known == path).map(|(name, _)| *name)
}

/// The name in checkpoints of a tensor, and its shape.
struct Needed {
    name: String,
    shape: Vec<usize>,
}

/// The tensors that a model needs, by their names in files.
fn needed(spec: &Spec) -> BTreeMap<String, Needed> {
    let mut needed = BTreeMap::new();
    let mut add = |file: String, name: String, shape: Vec<usize>| {
        needed.insert(file, Needed { name, shape });
    };
    for (file, name) in OUTSIDE {
        let shape = if file == "output_norm" { vec![spec.hidden] } else { vec![spec.vocabulary, spec.hidden] };
        if file != "output" || !spec.tied {
            add(format!("{file}.weight"), format!("{name}.weight"), shape);
        }
    }
    let block = |number: usize, file: &str, part: &str| (format!("blk.{number}.{file}"), spec.path(number, part));
    for number in 0..spec.blocks() {
        for (file, part) in INSIDE {
            let (file, path) = block(number, file, part);
            let linear = spec.linears.iter().flatten().find(|linear| linear.path == part);
            let head = spec.names.head_norms.is_some_and(|norms| norms.contains(&part));
            match linear {
                Some(linear) => {
                    add(format!("{file}.weight"), format!("{path}.weight"), vec![linear.outputs, linear.inputs]);
                    if linear.bias {
                        add(format!("{file}.bias"), format!("{path}.bias"), vec![linear.outputs]);
                    }
                }
                None if head => add(format!("{file}.weight"), format!("{path}.weight"), vec![spec.heads.size]),
                None if spec.names.norms.contains(&part) => {
                    add(format!("{file}.weight"), format!("{path}.weight"), vec![spec.hidden]);
                }
                None => {}
            }
        }
    }
    needed
}

/// The entries of a checkpoint, by name.
///
/// # Errors
/// A sentence that names the tensor that is missing, is of another shape, or is none of the architecture's.
pub(super) fn entries(
    file: &GgufFile,
    spec: &Spec,
    architecture: Architecture,
) -> Result<Vec<(String, TensorEntry)>, String> {
    // Not one needed name is made for a block that the file cannot have.
    if spec.blocks() > file.tensors.len() {
        let (blocks, tensors) = (spec.blocks(), file.tensors.len());
        return Err(format!("key {} is {blocks}, but the file has {tensors} tensors", architecture.key("block_count")));
    }
    let mut needed = needed(spec);
    let mut entries = Vec::with_capacity(needed.len());
    for tensor in file.tensors.iter().filter(|tensor| tensor.name != ROPE_FACTORS) {
        let Some(Needed { name, shape }) = needed.remove(tensor.name) else {
            return Err(format!(
                "tensor {:.64} is none that the architecture {} has here",
                tensor.name, architecture.name
            ));
        };
        if tensor.shape != shape {
            return Err(format!(
                "tensor {} has the shape {:?}, but the keys of {} make it {shape:?}",
                tensor.name, tensor.shape, architecture.name
            ));
        }
        let turned = architecture.interleaved && [".attn_q.", ".attn_k."].iter().any(|part| tensor.name.contains(part));
        let order = if turned { RowOrder::Interleaved { head: spec.heads.size } } else { RowOrder::Same };
        entries.push((name, entry(tensor, order)?));
    }
    match needed.keys().next() {
        Some(missing) => Err(format!("tensor {missing} is missing")),
        None => Ok(entries),
    }
}

fn entry(tensor: &GgufTensor, order: RowOrder) -> Result<TensorEntry, String> {
    let whole = [BlockType::F32, BlockType::F16, BlockType::Bf16].contains(&tensor.kind);
    // The values of a vector in llama.cpp's order are rows of one value.
    if tensor.shape.len() == 1 && !whole {
        return Err(format!(
            "tensor {} is of type {}, but a vector is F32, F16 or BF16",
            tensor.name,
            tensor.kind.name()
        ));
    }
    let width = tensor.shape.iter().skip(1).product();
    let rows = StoredRows { kind: tensor.kind, order, width };
    Ok(TensorEntry::of_rows(tensor.shape.clone(), tensor.start..tensor.start + tensor.length, rows))
}

/// Divides the rotary frequencies by the factors of the file, where it has some.
///
/// # Errors
/// Factors of another number than there are pairs, or that are no numbers above 0.
pub(super) fn slow_turns(file: &GgufFile, bytes: &[u8], spec: &mut Spec) -> Result<(), String> {
    let Some(tensor) = file.tensors.iter().find(|tensor| tensor.name == ROPE_FACTORS) else { return Ok(()) };
    let pairs = spec.turns.frequencies.len();
    if tensor.shape != [pairs] || tensor.kind != BlockType::F32 {
        return Err(format!(
            "tensor {ROPE_FACTORS} has the shape {:?} and the type {}, but only {pairs} values of F32 are supported",
            tensor.shape,
            tensor.kind.name()
        ));
    }
    let mut factors = vec![0.0; pairs];
    tensor.kind.write_values(&bytes[tensor.start..tensor.start + tensor.length], &mut factors);
    for (frequency, factor) in spec.turns.frequencies.iter_mut().zip(factors) {
        if !(factor > 0.0 && f64::from(factor).recip().is_finite()) {
            return Err(format!(
                "tensor {ROPE_FACTORS} has the factor {factor}, but only numbers above 0 are supported"
            ));
        }
        *frequency /= f64::from(factor);
    }
    Ok(())
}
