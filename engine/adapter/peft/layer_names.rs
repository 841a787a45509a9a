//! Layers that have another name in memory than in their checkpoints: `transformers` 5 renames those of a ViT as it loads
//! one. PEFT goes by the names in memory, and knows the older ones of no ViT. The engine lays adapters out by checkpoints, so
//! paths and tensors are renamed on their way to a folder and back; folders of either kind are read.

use crate::adapter::layout::PREFIX;

/// The list of the blocks: in checkpoints, and in memory.
const BLOCKS: [&str; 2] = ["vit.encoder.layer.", "vit.layers."];

/// The layers of a block, likewise.
const LAYERS: [[&str; 2]; 6] = [
    ["attention.attention.query", "attention.q_proj"],
    ["attention.attention.key", "attention.k_proj"],
    ["attention.attention.value", "attention.v_proj"],
    ["attention.output.dense", "attention.o_proj"],
    ["intermediate.dense", "mlp.fc1"],
    ["output.dense", "mlp.fc2"],
];

/// The name in memory of a layer, or of an adapter's tensor of it; `None` where it is the same.
pub(super) fn in_memory(name: &str) -> Option<String> {
    renamed(name, 0, 1)
}

/// The name in checkpoints; `None` where it is the same.
pub(super) fn in_checkpoints(name: &str) -> Option<String> {
    renamed(name, 1, 0)
}

fn renamed(name: &str, from: usize, to: usize) -> Option<String> {
    let bare = name.strip_prefix(PREFIX).unwrap_or(name);
    let (number, part) = bare.strip_prefix(BLOCKS[from])?.split_once('.')?;
    let is_in = |layer: &str| part.strip_prefix(layer).is_some_and(|end| end.is_empty() || end.starts_with('.'));
    let layer = LAYERS.iter().find(|layer| is_in(layer[from]))?;
    let (before, end) = (&name[..name.len() - bare.len()], &part[layer[from].len()..]);
    Some(format!("{before}{}{number}.{}{end}", BLOCKS[to], layer[to]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_and_tensors_of_a_vit_have_two_names_and_others_one() {
        for (checkpoint, memory) in [
            ("vit.encoder.layer.0.attention.attention.query", "vit.layers.0.attention.q_proj"),
            ("vit.encoder.layer.10.attention.output.dense", "vit.layers.10.attention.o_proj"),
            (
                "base_model.model.vit.encoder.layer.1.output.dense.lora_A.weight",
                "base_model.model.vit.layers.1.mlp.fc2.lora_A.weight",
            ),
        ] {
            assert_eq!(in_memory(checkpoint).as_deref(), Some(memory));
            assert_eq!(in_checkpoints(memory).as_deref(), Some(checkpoint));
            assert_eq!((in_memory(memory), in_checkpoints(checkpoint)), (None, None));
        }
        for same in
            ["base_model.model.classifier.weight", "model.layers.0.mlp.up_proj", "vit.encoder.layer.0.layernorm"]
        {
            assert_eq!((in_memory(same), in_checkpoints(same)), (None, None));
        }
    }
}
