//! Fuzzes models in GGUF files: any bytes as such a file, loaded as a run does, with its tokenizer. A panic, or memory without
//! bound, is a find.

#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use cellm::trainer::{LoraConfig, Model, ModelConfig, Quantize, Trainer};
use libfuzzer_sys::fuzz_target;

static FOLDER: LazyLock<PathBuf> = LazyLock::new(cellm_fuzz::folder);

fuzz_target!(|data: &[u8]| {
    cellm_fuzz::put(&FOLDER, "model.gguf", data);
    let path = Some(FOLDER.join("model.gguf"));
    for quantize in [Quantize::None, Quantize::Keep] {
        let config = ModelConfig { path: path.clone(), device: "cpu".into(), quantize, ..ModelConfig::default() };
        let Ok(model) = Model::load(&config) else { continue };
        let _ = model.tokenizer().encode("It's <s> 1234\n\u{10fffd}");
        let _ = Trainer::new(model, &LoraConfig::default(), 0, 1).map(|trainer| trainer.start().0.len());
    }
});
