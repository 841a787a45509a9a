//! Whose class is which, from a checkpoint to data, and back from a merged model and an adapter folder.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::*;
use crate::adapter::AdapterWeights;
use crate::adapter::peft;
use crate::data::{self, Dataset, Goal, Task, tokenize};

const NAMES: [&str; 3] = ["positive", "negative", "neutral"];

/// A classifier whose config.json orders its classes otherwise than the alphabet.
fn base(names: &[&str]) -> tempfile::TempDir {
    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/golden/llama-classes");
    let dir = tempfile::tempdir().unwrap();
    for file in ["model.safetensors", "tokenizer.json"] {
        std::fs::copy(golden.join(file), dir.path().join(file)).unwrap();
    }
    let mut config: Value = serde_json::from_slice(&std::fs::read(golden.join("config.json")).unwrap()).unwrap();
    config["id2label"] = names.iter().enumerate().map(|(at, name)| (at.to_string(), Value::from(*name))).collect();
    config["label2id"] = names.iter().enumerate().map(|(at, name)| (name.to_string(), Value::from(at))).collect();
    std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    dir
}

fn load(folder: &Path) -> Arc<Model> {
    Model::load(&ModelConfig { path: Some(folder.into()), device: "cpu".into(), ..ModelConfig::default() }).unwrap()
}

/// Texts whose labels are the answers of a model with these values, by the names of its classes.
fn answers(
    trainer: &Trainer,
    weights: &[f32],
    names: &[&str],
    keep: impl Fn(&str) -> bool,
) -> (tempfile::TempDir, data::Config) {
    let (dir, mut lines) = (tempfile::tempdir().unwrap(), String::new());
    for number in 0..60u32 {
        let words: Vec<String> =
            (0..6).map(|at| format!("w{}", (number * 31 + at * at * 7 + at * number) % 63)).collect();
        let text = words.join(" ");
        let tokens = trainer.model().tokenizer().encode(&text).unwrap();
        let sequence = Sequence { tokens, goal: Goal::Class(0), image: None };
        let logits = trainer.predictions(Some(weights), &sequence).unwrap();
        let best = (0..logits.len()).fold(0, |best, at| if logits[at] > logits[best] { at } else { best });
        if keep(names[best]) {
            lines += &format!("{}\n", serde_json::json!({ "text": text, "label": names[best] }));
        }
    }
    let path = dir.path().join("data.jsonl");
    std::fs::write(&path, lines).unwrap();
    let (task, label) = (Task::Classification, Some("label".into()));
    (dir, data::Config { path: Some(path), task, label, min_chars: 1, ..data::Config::default() })
}

/// The accuracy on data in the order of the head's classes, and that order.
fn accuracy(model: &Arc<Model>, config: &data::Config, lora: &LoraConfig) -> Result<(f64, Vec<String>), TrainerError> {
    let (data, _) = model.classed(Dataset::load(config, None, None)?, config, lora)?;
    let trainer = Trainer::new(model.clone(), lora, data.classes().len(), 1)?;
    let records = data.read(&(0..).take(data.len()).collect::<Vec<u32>>())?;
    let sequences = tokenize(model.tokenizer(), &records, config)?;
    let found = loss(&trainer, &trainer.start().0, &sequences, 8);
    Ok((found.accuracy(), data.classes().to_vec()))
}

#[test]
fn a_checkpoint_answers_its_own_labels_right_in_the_order_that_it_gives_them() {
    let dir = base(&NAMES);
    let (model, lora) = (load(dir.path()), LoraConfig::default());
    let trainer = Trainer::new(model.clone(), &lora, 3, 1).unwrap();
    let (_data, config) = answers(&trainer, &trainer.start().0, &NAMES, |_| true);
    assert_eq!(accuracy(&model, &config, &lora).unwrap(), (1.0, NAMES.map(String::from).to_vec()));
    let by_hand =
        data::Config { classes: ["neutral", "positive", "negative"].map(String::from).into(), ..config.clone() };
    assert_eq!(accuracy(&model, &by_hand, &lora).unwrap().0, 1.0);
    let (_some, some) = answers(&trainer, &trainer.start().0, &NAMES, |name| name != "positive");
    assert_eq!(accuracy(&model, &some, &lora).unwrap(), (1.0, NAMES.map(String::from).to_vec()));

    let (_other, other) = answers(&trainer, &trainer.start().0, &["positive", "odd", "neutral"], |_| true);
    let error = accuracy(&model, &other, &lora).unwrap_err().to_string();
    assert!(
        error.contains("its head has the classes positive, negative, neutral, the data has neutral, odd, positive"),
        "{error}"
    );
    let zero = LoraConfig { head: HeadStart::Zero, ..lora };
    let (found, classes) = accuracy(&model, &other, &zero).unwrap();
    assert!(found < 1.0 && classes == ["neutral", "odd", "positive"], "{found} {classes:?}");
}

#[test]
fn a_trained_classifier_comes_back_from_its_merged_model_and_its_folder_with_its_accuracy() {
    let dir = base(&NAMES);
    let (model, lora) = (load(dir.path()), LoraConfig { rank: 2, ..LoraConfig::default() });
    let trainer = Trainer::new(model.clone(), &lora, 3, 1).unwrap();
    let weights = AdapterWeights(anywhere(&trainer).into());
    let names = NAMES.map(String::from);
    let (_data, config) = answers(&trainer, &weights.0, &NAMES, |_| true);

    let merged = tempfile::tempdir().unwrap();
    let about = ModelConfig { path: Some(dir.path().into()), device: "cpu".into(), ..ModelConfig::default() };
    trainer.write_merged(&about, &weights, &names, merged.path()).unwrap();
    let (found, classes) = accuracy(&load(merged.path()), &config, &LoraConfig::default()).unwrap();
    // The base is of type f16, and so is what is merged into it.
    assert!(found > 0.9 && classes == names, "{found}");

    let folder = tempfile::tempdir().unwrap();
    peft::write(folder.path(), trainer.layout(), &weights, &model.peft(&lora, trainer.layout(), &names)).unwrap();
    let plain = load(base(&["LABEL_0", "LABEL_1", "LABEL_2"]).path());
    let init = LoraConfig { init: Some(folder.path().into()), ..lora };
    assert_eq!(accuracy(&plain, &config, &init).unwrap(), (1.0, names.to_vec()));
}
