//! Fuzzes the folders of models and adapters: any bytes as one of their files, beside others that are good. What the bytes begin
//! with says which file they are. A panic, or memory without bound, is a find.

#![no_main]

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use cellm::adapter::{AdapterLayout, Role, TensorSpec, peft};
use cellm::trainer::{LoraConfig, Model, ModelConfig, Trainer};
use libfuzzer_sys::fuzz_target;

const CONFIG: &[u8] = include_bytes!("seeds/models/config.json");
const WEIGHTS: &[u8] = include_bytes!("seeds/models/model.safetensors");
const TOKENIZER: &[u8] = include_bytes!("seeds/tokenizers/tokenizer.json");
const ADAPTER_CONFIG: &[u8] = include_bytes!("seeds/models/adapter_config.json");
const ADAPTER: &[u8] = include_bytes!("seeds/models/adapter_model.safetensors");

/// The files that are changed, with what they are otherwise.
const FILES: [(&str, &[u8]); 5] = [
    ("config.json", CONFIG),
    ("model.safetensors", WEIGHTS),
    ("tokenizer.json", TOKENIZER),
    ("adapter_config.json", ADAPTER_CONFIG),
    ("adapter_model.safetensors", ADAPTER),
];

static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = cellm_fuzz::folder();
    FILES.iter().for_each(|(name, good)| cellm_fuzz::put(&folder, name, good));
    folder
});

static LAYOUT: LazyLock<AdapterLayout> = LazyLock::new(|| {
    let tensor = |name: &str, role, shape: [usize; 2]| {
        let name = format!("base_model.model.model.layers.0.self_attn.q_proj.{name}.weight");
        TensorSpec { name, role, shape: shape.into(), rank: 2, scale: 1.0, seed: 3 }
    };
    AdapterLayout::new(vec![tensor("lora_A", Role::LoraA, [2, 8]), tensor("lora_B", Role::LoraB, [8, 2])])
});

fn model(folder: &Path) {
    let config = ModelConfig { path: Some(folder.into()), device: "cpu".into(), ..ModelConfig::default() };
    if let Ok(model) = Model::load(&config) {
        let _ = Trainer::new(model, &LoraConfig::default(), 0, 1).map(|trainer| trainer.start().0.len());
    }
}

fn adapter(folder: &Path) {
    if let Ok(read) = peft::read(folder, &LAYOUT, LAYOUT.start(), true) {
        assert!(read.weights.0.iter().all(|value| value.is_finite()));
    }
    let _ = peft::head_rows(folder, "score");
}

/// Puts the bytes in the place of a file, looks at the folder, and puts the good file back.
fn look(name: &str, bytes: &[u8]) {
    cellm_fuzz::put(&FOLDER, name, bytes);
    if name.starts_with("adapter") {
        adapter(&FOLDER)
    } else {
        model(&FOLDER)
    }
    if let Some((_, good)) = FILES.iter().find(|(known, _)| *known == name) {
        cellm_fuzz::put(&FOLDER, name, good);
    }
}

fuzz_target!(|data: &[u8]| {
    let says = |word: &[u8]| data.windows(word.len()).any(|window| window == word);
    if data.first() != Some(&b'{') {
        look("model.safetensors", data);
        look("adapter_model.safetensors", data);
    } else if says(b"peft_type") {
        look("adapter_config.json", data);
    } else if says(b"weight_map") {
        // An index counts where there is no whole file.
        let whole = FOLDER.join("model.safetensors");
        std::fs::rename(&whole, FOLDER.join("shard.safetensors")).expect("a shard");
        look("model.safetensors.index.json", data);
        std::fs::rename(FOLDER.join("shard.safetensors"), &whole).expect("a whole file");
        std::fs::remove_file(FOLDER.join("model.safetensors.index.json")).expect("no index");
    } else {
        look("config.json", data);
    }
});
