//! The adapter as a GGUF file that llama.cpp loads beside its base model: values in, a file of `lora_a` and `lora_b`
//! tensors out.

use std::path::Path;

use super::family::Spec;
use super::gguf::{RowOrder, module_in_file};
use super::{Trainer, TrainerError};
use crate::adapter::{AdapterLayout, AdapterWeights, Role, TensorInfo};

/// Tensors begin at multiples of this.
const ALIGNMENT: usize = 32;
/// The number of the type F32 in files.
const F32: u32 = 0;

/// The architecture of llama.cpp of each family, and true where its rows of queries and keys are interleaved.
const ARCHITECTURES: [(&str, &str, bool); 5] = [
    ("GPT-2", "gpt2", false),
    ("Llama", "llama", true),
    ("Mistral", "llama", true),
    ("Qwen 2", "qwen2", false),
    ("Qwen 3", "qwen3", false),
];

/// The linear layers of a GPT-2.
const OF_GPT2: [(&str, &str); 4] =
    [("attn.c_attn", "attn_qkv"), ("attn.c_proj", "attn_output"), ("mlp.c_fc", "ffn_up"), ("mlp.c_proj", "ffn_down")];

impl Trainer {
    /// Writes the adapter of `weights`, `P` values, as a GGUF file.
    ///
    /// # Errors
    /// [`TrainerError::GgufAdapter`] where llama.cpp has no such model, or nothing that a part of the adapter could be;
    /// [`TrainerError::Write`].
    pub fn write_gguf(&self, weights: &AdapterWeights, to: &Path) -> Result<(), TrainerError> {
        let failed = |reason| TrainerError::GgufAdapter { path: to.into(), reason };
        let spec = &self.model().transformer.spec;
        let bytes = adapter_file(spec, self.layout(), &weights.0).map_err(failed)?;
        let partial = to.with_extension("partial");
        let written = std::fs::write(&partial, bytes).and_then(|()| std::fs::rename(&partial, to));
        written.map_err(|source| TrainerError::Write { path: to.into(), source })
    }
}

/// A tensor of the file: name, shape in the order of llama.cpp, values.
struct Tensor {
    name: String,
    shape: [usize; 2],
    values: Vec<f32>,
}

/// The bytes of the file.
fn adapter_file(spec: &Spec, layout: &AdapterLayout, values: &[f32]) -> Result<Vec<u8>, String> {
    let family = ARCHITECTURES.iter().find(|(family, ..)| *family == spec.family);
    let Some((_, architecture, interleaved)) = family else {
        let known = ARCHITECTURES.map(|(family, ..)| family).join(", ");
        return Err(format!("llama.cpp has no adapters of the family {}; of {known} it has", spec.family));
    };
    let of = |tensor: &TensorInfo| values[tensor.offset..tensor.offset + tensor.len].to_vec();
    let mut tensors = Vec::new();
    // One numerator of the scale is all that a file has: a pair with another one has it in its B.
    let mut alpha = None;
    for tensor in layout.tensors() {
        let name = || module(spec, tensor);
        match tensor.spec.role {
            Role::LoraA => {
                let shape = [tensor.spec.shape[1], tensor.spec.shape[0]];
                tensors.push(Tensor { name: format!("{}.weight.lora_a", name()?), shape, values: of(tensor) });
            }
            Role::LoraB => {
                let own = tensor.spec.scale * tensor.spec.rank as f32;
                // llama.cpp takes a numerator of 0 for none at all.
                let factor = own / *alpha.get_or_insert(if own == 0.0 { 1.0 } else { own });
                let (name, shape) = (name()?, [tensor.spec.shape[1], tensor.spec.shape[0]]);
                let turned = *interleaved && ["attn_q", "attn_k"].iter().any(|end| name.ends_with(end));
                let order = if turned { RowOrder::Interleaved { head: spec.heads.size } } else { RowOrder::Same };
                let mut values = reordered(&of(tensor), shape[0], order);
                if factor != 1.0 {
                    values.iter_mut().for_each(|value| *value *= factor);
                }
                tensors.push(Tensor { name: format!("{name}.weight.lora_b"), shape, values });
            }
            Role::Base if of(tensor).iter().all(|value| *value == 0.0) => {}
            _ => {
                let name = tensor.spec.bare_name();
                return Err(format!("the adapter has {name}, but an adapter of llama.cpp has pairs alone"));
            }
        }
    }
    Ok(file_bytes(architecture, alpha.unwrap_or(1.0), &tensors))
}

/// The name in files of the layer that a tensor belongs to, such as `blk.0.attn_q`.
fn module(spec: &Spec, tensor: &TensorInfo) -> Result<String, String> {
    let layer = tensor.spec.layer();
    let start = format!("{}.{}.", spec.names.base, spec.names.blocks);
    let found = layer.strip_prefix(&start).and_then(|rest| rest.split_once('.')).and_then(|(block, path)| {
        let of_gpt2 = OF_GPT2.iter().find(|(known, _)| *known == path).map(|(_, name)| *name);
        Some(format!("blk.{block}.{}", module_in_file(path).or(of_gpt2)?))
    });
    found.ok_or_else(|| format!("llama.cpp has no name for the layer {layer}"))
}

/// The rows of a matrix in the order of the file.
fn reordered(values: &[f32], width: usize, order: RowOrder) -> Vec<f32> {
    let mut stored = vec![0.0; values.len()];
    for (row, values) in values.chunks_exact(width).enumerate() {
        stored[order.stored(row) * width..][..width].copy_from_slice(values);
    }
    stored
}

fn file_bytes(architecture: &str, alpha: f32, tensors: &[Tensor]) -> Vec<u8> {
    let mut bytes = b"GGUF".to_vec();
    bytes.extend(3u32.to_le_bytes());
    bytes.extend((tensors.len() as u64).to_le_bytes());
    let texts = [("general.architecture", architecture), ("general.type", "adapter"), ("adapter.type", "lora")];
    bytes.extend((texts.len() as u64 + 1).to_le_bytes());
    for (key, text) in texts {
        put_text(&mut bytes, key);
        bytes.extend(8u32.to_le_bytes());
        put_text(&mut bytes, text);
    }
    put_text(&mut bytes, "adapter.lora.alpha");
    bytes.extend(6u32.to_le_bytes());
    bytes.extend(alpha.to_le_bytes());
    let mut offset = 0;
    for tensor in tensors {
        put_text(&mut bytes, &tensor.name);
        bytes.extend((tensor.shape.len() as u32).to_le_bytes());
        tensor.shape.iter().for_each(|size| bytes.extend((*size as u64).to_le_bytes()));
        bytes.extend(F32.to_le_bytes());
        bytes.extend((offset as u64).to_le_bytes());
        offset = (offset + size_of_val::<[f32]>(&tensor.values)).next_multiple_of(ALIGNMENT);
    }
    for tensor in tensors {
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        tensor.values.iter().for_each(|value| bytes.extend(value.to_le_bytes()));
    }
    bytes
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::super::gguf::GgufFile;
    use super::super::{HeadStart, LoraConfig, Model, ModelConfig};
    use super::*;

    fn trainer(model: &str, lora: &LoraConfig, classes: usize) -> Trainer {
        let path = Some(format!("{}/tests/fixtures/{model}", env!("CARGO_MANIFEST_DIR")).into());
        let config = ModelConfig { path, device: "cpu".into(), ..ModelConfig::default() };
        Trainer::new(Model::load(&config).unwrap(), lora, classes, 1).unwrap()
    }

    /// The file of an adapter whose values count from 0.
    fn counted(trainer: &Trainer) -> Result<Vec<u8>, String> {
        let values: Vec<f32> = (0..trainer.start().0.len()).map(|at| at as f32).collect();
        adapter_file(&trainer.model().transformer.spec, trainer.layout(), &values)
    }

    #[test]
    fn every_tensor_lies_where_llama_cpp_looks_for_it() {
        let lora = LoraConfig { rank: 4, alpha: 12.0, ..LoraConfig::default() };
        for (model, architecture, first) in [
            ("golden/llama3", "llama", "blk.0.attn_q"),
            ("golden/mistral", "llama", "blk.0.attn_q"),
            ("golden/qwen2", "qwen2", "blk.0.attn_q"),
            ("golden/gpt2", "gpt2", "blk.0.attn_qkv"),
            ("gguf/qwen3.gguf", "qwen3", "blk.0.attn_q"),
        ] {
            let trainer = trainer(model, &lora, 0);
            let bytes = counted(&trainer).unwrap();
            let file = GgufFile::read(&bytes).unwrap();
            assert_eq!(file.metadata.text("general.architecture").unwrap(), Some(architecture));
            assert_eq!(file.metadata.text("general.type").unwrap(), Some("adapter"));
            assert_eq!(file.metadata.number("adapter.lora.alpha").unwrap(), Some(12.0));
            assert_eq!(file.tensors.len(), trainer.layout().tensors().len(), "{model}");
            let [a, b] = [&file.tensors[0], &file.tensors[1]];
            assert_eq!((a.name, b.name), (&*format!("{first}.weight.lora_a"), &*format!("{first}.weight.lora_b")));
            let [own_a, own_b] = [0, 1].map(|number| &trainer.layout().tensors()[number]);
            assert_eq!((&a.shape, &b.shape), (&own_a.spec.shape, &own_b.spec.shape), "{model}");
            let mut found = vec![0.0; own_b.len];
            b.kind.write_values(&bytes[b.start..b.start + b.length], &mut found);
            let first = own_b.offset as f32;
            // The second row of a Llama's head is that of the first rotary pair, half of the head behind it.
            let half = trainer.model().transformer.spec.heads.size / 2;
            let second = if architecture == "llama" { half * 4 } else { 4 };
            assert_eq!((found[0], found[4]), (first, first + second as f32), "{model}");
        }
    }

    #[test]
    fn a_pair_with_another_scale_has_it_in_its_b() {
        let patterns = |json: &str| serde_json::from_str(json).unwrap();
        let lora = LoraConfig { rank: 4, alpha_pattern: patterns(r#"{"k_proj": 48.0}"#), ..LoraConfig::default() };
        let trainer = trainer("golden/qwen2", &lora, 0);
        let bytes = counted(&trainer).unwrap();
        let file = GgufFile::read(&bytes).unwrap();
        assert_eq!(file.metadata.number("adapter.lora.alpha").unwrap(), Some(16.0));
        let b = file.tensors.iter().position(|tensor| tensor.name == "blk.0.attn_k.weight.lora_b").unwrap();
        let (own, b) = (&trainer.layout().tensors()[b], &file.tensors[b]);
        let mut found = vec![0.0; own.len];
        b.kind.write_values(&bytes[b.start..b.start + b.length], &mut found);
        assert_eq!(found[1], 3.0 * (own.offset as f32 + 1.0));
    }

    #[test]
    fn what_llama_cpp_cannot_have_is_refused_by_name() {
        let error = counted(&trainer("golden/vit", &LoraConfig::default(), 3)).unwrap_err();
        assert!(error.starts_with("llama.cpp has no adapters of the family ViT; of GPT-2, Llama"), "{error}");
        let lora = LoraConfig { head: HeadStart::Zero, ..LoraConfig::default() };
        let error = counted(&trainer("golden/llama3", &lora, 3)).unwrap_err();
        assert_eq!(error, "the adapter has score.weight, but an adapter of llama.cpp has pairs alone");
        let lora = LoraConfig { residual: true, ..LoraConfig::default() };
        let error = counted(&trainer("golden/qwen2", &lora, 0)).unwrap_err();
        assert!(error.contains("residual.weight, but an adapter of llama.cpp has pairs alone"), "{error}");
    }
}
