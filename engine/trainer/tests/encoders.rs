//! Encoders: what they cannot learn, the layers of their heads, and the start of these.

use std::path::{Path, PathBuf};

use super::variants::folder;
use super::*;
use crate::adapter::Role;
use crate::adapter::peft::{self, Targets};
use crate::data::Goal;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/golden").join(name)
}

fn load(folder: &Path) -> Result<Arc<Model>, String> {
    let config = ModelConfig { path: Some(folder.into()), device: "cpu".into(), ..ModelConfig::default() };
    Model::load(&config).map_err(|error| error.to_string())
}

/// A fixture without some tensors.
fn without(name: &str, tensors: &[&str]) -> tempfile::TempDir {
    folder(&serde_json::json!({ "base": name, "drop_tensors": tensors }))
}

fn trainer(model: &Arc<Model>, lora: &LoraConfig, classes: usize, seed: u64) -> Result<Trainer, String> {
    Trainer::new(model.clone(), lora, classes, seed).map_err(|error| error.to_string())
}

#[test]
fn an_encoder_predicts_no_next_token() {
    for (name, family) in [("bert-classes", "BERT"), ("distilbert-classes", "DistilBERT"), ("vit", "ViT")] {
        let model = load(&fixture(name)).unwrap();
        let error = trainer(&model, &LoraConfig::default(), 0, 1).unwrap_err();
        assert!(error.contains(&format!("is an encoder ({family})")), "{error}");
        assert!(error.ends_with("data.task = \"classification\" is what it can learn"), "{error}");
    }
}

#[test]
fn a_bert_without_its_pooler_is_refused_by_the_name_of_the_tensor() {
    let dir = without("bert-classes", &["bert.pooler.dense.weight"]);
    let error = load(dir.path()).unwrap_err();
    assert!(error.contains("tensor bert.pooler.dense.weight is missing, which the head for classes reads"), "{error}");
}

#[test]
fn a_target_that_means_the_frozen_pooler_too_is_refused_and_one_that_means_a_trained_layer_is_not() {
    let dense = LoraConfig { targets: ["query", "dense"].into(), ..LoraConfig::default() };
    let bert = load(&fixture("bert-classes")).unwrap();
    let error = trainer(&bert, &dense, 3, 1).unwrap_err();
    let says = "section lora names bert.pooler.dense, which cannot have a pair here: query, key, value, output.dense, \
                intermediate.dense can";
    assert_eq!(error, says);
    let adapter = peft::PeftConfig { task: Some("SEQ_CLS".into()), ..crate::trainer::lora::peft_config(&dense) };
    let error = bert.resolve_adapter(adapter).unwrap_err().to_string();
    assert!(error.contains("target_modules (query, dense) names bert.pooler.dense, which cannot"), "{error}");
    // PEFT has no pair of a layer that it trains whole.
    let roberta = trainer(&load(&fixture("roberta-classes")).unwrap(), &dense, 3, 1).unwrap();
    let pairs = roberta.layout().tensors().iter().filter(|tensor| tensor.spec.role == Role::LoraA);
    assert_eq!(pairs.count(), 2 * 4);
}

#[test]
fn the_names_of_all_layers_do_not_mean_the_pooler() {
    let model = load(&fixture("bert-classes")).unwrap();
    let trainer = trainer(&model, &LoraConfig::default(), 3, 1).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let about = model.peft_config(&LoraConfig::default(), trainer.layout(), &[]);
    peft::write(dir.path(), trainer.layout(), trainer.start(), &about).unwrap();
    let names = ["query", "key", "value", "output.dense", "intermediate.dense"];
    assert_eq!(peft::read_config(dir.path()).unwrap().targets, Targets::Names(names.map(String::from).into()));
}

/// The values of a tensor in a trainer's start.
fn start(trainer: &Trainer, name: &str) -> Vec<f32> {
    let mut tensors = trainer.layout().tensors().iter();
    let tensor = tensors.find(|tensor| tensor.spec.bare_name() == name).unwrap();
    trainer.start().0[tensor.offset..tensor.offset + tensor.len].to_vec()
}

#[test]
fn a_head_of_two_layers_starts_from_the_checkpoint_or_from_a_draw_that_everybody_makes_alike() {
    for (name, pooler, last) in [
        ("distilbert-classes", "pre_classifier", "classifier"),
        ("roberta-classes", "classifier.dense", "classifier.out_proj"),
    ] {
        let (weight, bias, classes) = (format!("{pooler}.weight"), format!("{pooler}.bias"), format!("{last}.weight"));
        let lora = LoraConfig::default();
        let own = trainer(&load(&fixture(name)).unwrap(), &lora, 3, 1).unwrap();
        let zero = |values: &[f32]| values.iter().all(|value| *value == 0.0);
        assert!(!zero(&start(&own, &weight)) && !zero(&start(&own, &bias)) && !zero(&start(&own, &classes)), "{name}");

        let last_bias = format!("{last}.bias");
        let dir = without(name, &[&weight, &bias, &classes, &last_bias]);
        let bare = load(dir.path()).unwrap();
        let drawn = |seed| trainer(&bare, &lora, 5, seed).unwrap();
        let first = drawn(1);
        assert!(zero(&start(&first, &bias)) && zero(&start(&first, &classes)), "{name}");
        let values = start(&first, &weight);
        assert!(values.iter().all(|value| value.abs() <= 1.0 / 32f32.sqrt() && *value != 0.0), "{name}");
        assert_eq!(start(&drawn(1), &weight), values);
        assert_ne!(start(&drawn(2), &weight), values);

        let zeroed = trainer(own.model(), &LoraConfig { head: HeadStart::Zero, ..lora.clone() }, 3, 1).unwrap();
        assert!(zero(&start(&zeroed, &classes)) && start(&zeroed, &weight) != start(&own, &weight), "{name}");

        // A checkpoint of the base model with a first layer alone keeps it.
        let dir = without(name, &[&classes, &last_bias]);
        let half = trainer(&load(dir.path()).unwrap(), &lora, 5, 1).unwrap();
        assert_eq!(start(&half, &weight), start(&own, &weight));
        let dir = without(name, &[&weight]);
        let error = load(dir.path()).unwrap_err();
        assert!(error.ends_with(&format!("tensor {weight} is missing")), "{error}");
    }
}

#[test]
fn every_layer_of_a_drawn_head_learns() {
    let dir = without("roberta-classes", &["classifier.out_proj.weight", "classifier.out_proj.bias"]);
    let trainer = trainer(&load(dir.path()).unwrap(), &LoraConfig::default(), 3, 1).unwrap();
    let sequence = |first: u32, class| Sequence { tokens: vec![0, first, 9, 2], goal: Goal::Class(class), image: None };
    let shard = [sequence(5, 0), sequence(6, 1), sequence(7, 2)];
    let local = LocalConfig { steps: 30, batch: 3, lr: 1e-2, ..LocalConfig::default() };
    let trained = trainer.train(&trainer.start().0, &shard, &local, KEY, &AtomicBool::new(false), None).unwrap();
    for tensor in trainer.layout().tensors() {
        let moved = trained.delta.0[tensor.offset..tensor.offset + tensor.len].iter().any(|change| *change != 0.0);
        assert!(moved, "{} does not move", tensor.spec.name);
    }
    let end: Vec<f32> = trainer.start().0.iter().zip(&trained.delta.0).map(|(start, delta)| start + delta).collect();
    assert_eq!(loss(&trainer, &end, &shard, 3).correct, 3);
}

#[test]
fn the_weights_of_an_encoder_are_counted_as_the_file_has_them() {
    for (name, heads) in [("bert-classes", 0), ("distilbert-classes", 32 * 32 + 32), ("roberta-classes", 32 * 32 + 32)]
    {
        let bytes = std::fs::read(fixture(name).join("model.safetensors")).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let all: usize = file.tensors().iter().map(|(_, view)| view.shape().iter().product::<usize>()).sum();
        assert_eq!(load(&fixture(name)).unwrap().parameters(), all - heads - (3 * 32 + 3), "{name}");
    }
}
