//! Adapters that PEFT itself wrote (tests/golden/adapters.py), and the merged model: the same logits, the same files.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

use super::*;
use crate::adapter::AdapterWeights;
use crate::adapter::peft::{self, Targets};

/// Results of `transformers` and `peft`.
#[derive(Deserialize)]
struct Golden {
    tokens: Vec<u32>,
    logits: Vec<f32>,
}

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/peft").join(name)
}

fn golden(name: &str) -> Golden {
    serde_json::from_slice(&std::fs::read(folder(name).join("golden.json")).unwrap()).unwrap()
}

/// The settings of a folder, which is the start.
fn following(name: &str) -> LoraConfig {
    let adapter = peft::read_config(&folder(name)).unwrap();
    LoraConfig {
        rank: adapter.rank,
        alpha: adapter.alpha,
        rank_pattern: adapter.rank_pattern,
        alpha_pattern: adapter.alpha_pattern,
        rslora: adapter.rslora,
        targets: adapter.targets,
        init: Some(folder(name)),
        ..LoraConfig::default()
    }
}

/// The settings of a folder of the bundled model, with the paths of that model's layers as targets.
fn resolved(name: &str) -> LoraConfig {
    let adapter = MODEL.resolve_adapter(peft::read_config(&folder(name)).unwrap()).unwrap();
    let (rank_pattern, targets) = (adapter.rank_pattern, adapter.targets);
    LoraConfig { rank_pattern, targets, ..following(name) }
}

fn last_logits(trainer: &Trainer, weights: Option<&[f32]>, tokens: &[u32]) -> Vec<f32> {
    let logits = trainer.logits(weights, tokens).unwrap();
    logits[logits.len() - trainer.model().tokenizer().vocab_size()..].to_vec()
}

fn largest_difference(left: &[f32], right: &[f32]) -> f32 {
    assert_eq!(left.len(), right.len());
    left.iter().zip(right).map(|(left, right)| (left - right).abs()).fold(0.0, f32::max)
}

#[test]
fn adapters_that_peft_made_give_its_logits() {
    for name in ["patterns", "all-linear"] {
        let (trainer, golden) = (trainer(&following(name)), golden(name));
        let differs =
            largest_difference(&last_logits(&trainer, Some(&trainer.start().0), &golden.tokens), &golden.logits);
        assert!(differs < 1e-4, "{name}: a logit differs by {differs}");
        let base = largest_difference(&last_logits(&trainer, None, &golden.tokens), &golden.logits);
        assert!(base > 0.1, "{name} does nothing");
    }
}

#[test]
fn what_peft_leaves_out_of_an_adapter_is_left_out_and_what_it_reads_over_is_said() {
    for (name, pairs, said) in [("excluded", 8, ""), ("named", 10, "2 tensors are read over, as by PEFT")] {
        let (trainer, golden) = (trainer(&resolved(name)), golden(name));
        assert_eq!(trainer.layout().tensors().len(), 2 * pairs, "{name}");
        let differs =
            largest_difference(&last_logits(&trainer, Some(&trainer.start().0), &golden.tokens), &golden.logits);
        assert!(differs < 1e-4, "{name}: a logit differs by {differs}");
        let base = largest_difference(&last_logits(&trainer, None, &golden.tokens), &golden.logits);
        assert!(base > 0.1, "{name} does nothing");
        assert!(
            trainer.left_out().concat().contains(said) && trainer.left_out().is_empty() == said.is_empty(),
            "{name}"
        );
    }
    let seen: Vec<usize> =
        trainer(&resolved("excluded")).layout().tensors().iter().map(|tensor| tensor.spec.rank).collect();
    assert_eq!(seen[..6], [3, 3, 3, 3, 2, 2], "the first pattern that fits counts");
}

#[test]
fn a_weight_that_an_adapter_folder_puts_in_the_place_of_the_bases_own_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for file in ["adapter_config.json", "adapter_model.safetensors"] {
        std::fs::copy(folder("named").join(file), dir.path().join(file)).unwrap();
    }
    let file = dir.path().join("adapter_model.safetensors");
    let bytes = std::fs::read(&file).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap().tensors();
    let doubled: Vec<u8> = tensors
        .iter()
        .find(|(name, _)| name.contains("embed_tokens"))
        .unwrap()
        .1
        .data()
        .chunks_exact(4)
        .flat_map(|value| (2.0 * f32::from_le_bytes(value.try_into().unwrap())).to_le_bytes())
        .collect();
    let changed = tensors.iter().map(|(name, view)| {
        let data = if name.contains("embed_tokens") { &doubled } else { view.data() };
        (name, safetensors::tensor::TensorView::new(view.dtype(), view.shape().to_vec(), data).unwrap())
    });
    std::fs::write(&file, safetensors::serialize(changed, None).unwrap()).unwrap();
    let lora = LoraConfig { init: Some(dir.path().into()), ..resolved("named") };
    let error = Trainer::new(MODEL.clone(), &lora, 0, 1).unwrap_err().to_string();
    assert!(
        error.contains("base_model.model.model.embed_tokens.weight takes the place of the base model's own"),
        "{error}"
    );
}

#[test]
fn a_head_that_peft_trained_is_read_with_its_pairs_and_merged() {
    let golden = golden("score");
    let trainer = Trainer::new(MODEL.clone(), &following("score"), 3, 1).unwrap();
    let classes = |logits: Vec<f32>| logits[logits.len() - 3..].to_vec();
    let logits = classes(trainer.logits(Some(&trainer.start().0), &golden.tokens).unwrap());
    let differs = largest_difference(&logits, &golden.logits);
    assert!(differs < 1e-4, "a logit differs by {differs}");
    let error = Trainer::new(MODEL.clone(), &following("score"), 4, 1).unwrap_err().to_string();
    assert!(error.ends_with("base_model.model.score.weight has shape [3, 64], but the run's has [4, 64]"), "{error}");

    let dir = tempfile::tempdir().unwrap();
    let labels = ["no", "maybe", "yes"].map(String::from);
    trainer.write_merged(&cpu(None), trainer.start(), &labels, dir.path()).unwrap();
    let config: Value = serde_json::from_slice(&std::fs::read(dir.path().join("config.json")).unwrap()).unwrap();
    assert_eq!(config["architectures"], serde_json::json!(["LlamaForSequenceClassification"]));
    assert_eq!((&config["id2label"]["1"], &config["label2id"]["yes"]), (&"maybe".into(), &2.into()));
    let merged = Model::load(&cpu(Some(dir.path().into()))).unwrap();
    let merged = Trainer::new(merged, &LoraConfig::default(), 3, 1).unwrap();
    let merged = classes(merged.logits(Some(&merged.start().0), &golden.tokens).unwrap());
    let differs = largest_difference(&merged, &golden.logits);
    assert!(differs < 1e-4, "a logit of the merged model differs by {differs}");
}

/// Writes the trainer's start and compares the folder with the one that PEFT made.
fn assert_written_as_peft_wrote_it(name: &str, trainer: &Trainer) {
    let dir = tempfile::tempdir().unwrap();
    let about = trainer.model().peft_config(&following(name), trainer.layout(), &[]);
    peft::write(dir.path(), trainer.layout(), trainer.start(), &about).unwrap();
    let config = |folder: PathBuf| -> Value {
        let mut config: Value =
            serde_json::from_slice(&std::fs::read(folder.join("adapter_config.json")).unwrap()).unwrap();
        // PEFT keeps names as a set.
        if let Some(names) = config["target_modules"].as_array_mut() {
            names.sort_by_key(Value::to_string);
        }
        config
    };
    let (ours, theirs) = (config(dir.path().into()), config(folder(name)));
    for key in [
        "r",
        "rank_pattern",
        "alpha_pattern",
        "use_rslora",
        "target_modules",
        "modules_to_save",
        "bias",
        "peft_type",
        "fan_in_fan_out",
        "use_dora",
    ] {
        let exact = |value: &Value| value.to_string().replace(".0}", "}");
        assert_eq!(exact(&ours[key]), exact(&theirs[key]), "{name}: {key}");
    }
    assert_eq!(ours["lora_alpha"].as_f64(), theirs["lora_alpha"].as_f64(), "{name}");
    let tensors = |folder: PathBuf| {
        let bytes = std::fs::read(folder.join("adapter_model.safetensors")).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let mut all: Vec<_> = file
            .tensors()
            .into_iter()
            .map(|(name, view)| (name, view.shape().to_vec(), view.data().to_vec()))
            .collect();
        all.sort();
        all
    };
    assert!(tensors(dir.path().into()) == tensors(folder(name)), "{name}");
}

#[test]
fn an_adapter_that_peft_made_is_written_as_peft_wrote_it() {
    assert_written_as_peft_wrote_it("patterns", &trainer(&following("patterns")));
}

/// The tiny ViT's folder, and the picture that PEFT gave it.
fn vit() -> (PathBuf, Sequence) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/golden/vit");
    let json: Value = serde_json::from_slice(&std::fs::read(folder.join("golden.json")).unwrap()).unwrap();
    let image = super::golden::picture(&json["picture"]);
    (folder, Sequence { tokens: Vec::new(), goal: Goal::Class(0), image })
}

#[test]
fn a_vits_adapter_has_the_names_that_layers_have_in_memory() {
    let (base, sequence) = vit();
    let trainer = Trainer::new(Model::load(&cpu(Some(base))).unwrap(), &following("vit"), 3, 1).unwrap();
    let logits = trainer.predictions(Some(&trainer.start().0), &sequence).unwrap();
    let differs = largest_difference(&logits, &golden("vit").logits);
    assert!(differs < 1e-4, "a logit differs by {differs}");
    let first = &trainer.layout().tensors()[0].spec.name;
    assert_eq!(first, "base_model.model.vit.encoder.layer.0.attention.attention.query.lora_A.weight");
    assert_written_as_peft_wrote_it("vit", &trainer);

    // The checkpoint's names mean the same.
    let names = ["query", "attention.output.dense", "1.output.dense", "0.output.dense"];
    let rank_pattern = [("layer.1.output.dense".to_string(), 3)].into();
    let lora = LoraConfig { targets: names.into(), rank_pattern, ..following("vit") };
    let again = Trainer::new(trainer.model().clone(), &lora, 3, 1).unwrap();
    assert_eq!((again.layout(), again.start()), (trainer.layout(), trainer.start()));
    let dir = tempfile::tempdir().unwrap();
    let about = again.model().peft_config(&lora, again.layout(), &[]);
    peft::write(dir.path(), again.layout(), again.start(), &about).unwrap();
    let config = peft::read_config(dir.path()).unwrap();
    let expected = ["attention.q_proj", "attention.o_proj", "mlp.fc2"];
    let expected = (0..2).flat_map(|block| expected.map(|layer| format!("vit.layers.{block}.{layer}"))).collect();
    assert_eq!(config.targets, Targets::Names(expected), "a name that is of one block");
    assert!(config.rank_pattern.0.contains(&("vit.layers.1.mlp.fc2".to_string(), 3)));
}

/// A base, its tensors of type f32, in a folder of its own.
fn in_f32(base: &std::path::Path) -> tempfile::TempDir {
    use safetensors::{Dtype, SafeTensors, tensor::TensorView};
    let dir = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(base).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
        std::fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
    }
    let bytes = std::fs::read(base.join("model.safetensors")).unwrap();
    let whole = SafeTensors::deserialize(&bytes).unwrap();
    let wide: Vec<(String, Vec<usize>, Vec<u8>)> = whole
        .tensors()
        .into_iter()
        .map(|(name, view)| {
            let values = crate::adapter::float_bytes::floats(view.dtype(), view.data()).unwrap();
            (name, view.shape().to_vec(), crate::adapter::float_bytes::bytes(Dtype::F32, &values).unwrap())
        })
        .collect();
    let views =
        wide.iter().map(|(name, shape, bytes)| (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    std::fs::write(dir.path().join("model.safetensors"), safetensors::serialize(views, None).unwrap()).unwrap();
    dir
}

#[test]
fn a_merged_classifier_is_a_whole_model_of_transformers_with_its_head() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/golden");
    for (name, class, head, base_name) in [
        ("vit", "ViTForImageClassification", "classifier", "vit."),
        ("gpt2-classes", "GPT2ForSequenceClassification", "score", "transformer."),
        ("llama-classes", "LlamaForSequenceClassification", "score", "model."),
        ("bert-classes", "BertForSequenceClassification", "classifier", "bert."),
        ("distilbert-classes", "DistilBertForSequenceClassification", "classifier", "distilbert."),
        ("roberta-classes", "RobertaForSequenceClassification", "classifier", "roberta."),
    ] {
        let base = in_f32(&root.join(name));
        let adapter = peft::read_config(&root.join(name).join("adapter")).unwrap();
        let init = Some(root.join(name).join("adapter"));
        let lora = LoraConfig {
            rank: adapter.rank,
            alpha: adapter.alpha,
            targets: adapter.targets,
            init,
            ..Default::default()
        };
        let base = cpu(Some(base.path().into()));
        let trainer = Trainer::new(Model::load(&base).unwrap(), &lora, 3, 1).unwrap();
        let (to, labels) = (tempfile::tempdir().unwrap(), ["no", "maybe", "yes"].map(String::from));
        trainer.write_merged(&base, trainer.start(), &labels, to.path()).unwrap();
        let config: Value = serde_json::from_slice(&std::fs::read(to.path().join("config.json")).unwrap()).unwrap();
        assert_eq!(config["architectures"], serde_json::json!([class]));
        assert_eq!(config["id2label"], serde_json::json!({"0": "no", "1": "maybe", "2": "yes"}), "{name}");
        assert_eq!(to.path().join("preprocessor_config.json").exists(), name == "vit");
        let bytes = std::fs::read(to.path().join("model.safetensors")).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let is_head = |tensor: &&str| tensor.split('.').next().is_some_and(|module| module.ends_with(head));
        let (heads, others): (Vec<&str>, Vec<&str>) = file.names().into_iter().partition(is_head);
        let expected = match name {
            "vit" | "bert-classes" => 2,
            "distilbert-classes" | "roberta-classes" => 4,
            _ => 1,
        };
        assert_eq!(heads.len(), expected);
        assert!(others.iter().all(|name| name.starts_with(base_name)), "{others:?}");

        let sequence = match name {
            "vit" => vit().1,
            _ => Sequence {
                tokens: golden("score").tokens[1..].iter().map(|token| token % 64).collect(),
                goal: Goal::Class(0),
                image: None,
            },
        };
        let merged = Model::load(&cpu(Some(to.path().into()))).unwrap();
        let merged = Trainer::new(merged, &LoraConfig::default(), 3, 2).unwrap();
        let adapted = trainer.predictions(Some(&trainer.start().0), &sequence).unwrap();
        let differs = largest_difference(&merged.predictions(None, &sequence).unwrap(), &adapted);
        assert!(differs < 1e-4, "{name}: a logit differs by {differs}");
    }
}

#[test]
fn a_run_with_other_ranks_than_the_folder_is_told_the_layer_and_both() {
    let lora = LoraConfig { rank_pattern: Default::default(), ..following("patterns") };
    let error = Trainer::new(MODEL.clone(), &lora, 0, 1).unwrap_err().to_string();
    assert!(error.ends_with("r of model.layers.0.self_attn.q_proj is 2, but the run has 4"), "{error}");
    let lora = LoraConfig { rslora: false, ..following("patterns") };
    let error = Trainer::new(MODEL.clone(), &lora, 0, 1).unwrap_err().to_string();
    assert!(error.contains("the scale of model.layers.0.self_attn.q_proj is 4.2426"), "{error}");
}

/// A config of the bundled model as a folder, its weights in two shards and of type f16.
fn half_base() -> (tempfile::TempDir, ModelConfig) {
    use safetensors::{Dtype, SafeTensors, tensor::TensorView};
    let dir = tempfile::tempdir().unwrap();
    let bundled = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("engine/trainer/bundled/stories260k");
    for file in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(bundled.join(file), dir.path().join(file)).unwrap();
    }
    let whole = std::fs::read(bundled.join("model.safetensors")).unwrap();
    let whole = SafeTensors::deserialize(&whole).unwrap();
    let mut names: Vec<&str> = whole.names();
    names.sort();
    let mut map = serde_json::Map::new();
    for number in 0..2 {
        let shard = format!("model-0000{}-of-00002.safetensors", number + 1);
        let halves: Vec<(&str, Vec<usize>, Vec<u8>)> = names
            .iter()
            .skip(number)
            .step_by(2)
            .map(|name| {
                let view = whole.tensor(name).unwrap();
                let values = crate::adapter::float_bytes::floats(view.dtype(), view.data()).unwrap();
                (*name, view.shape().to_vec(), crate::adapter::float_bytes::bytes(Dtype::F16, &values).unwrap())
            })
            .collect();
        map.extend(halves.iter().map(|(name, ..)| (name.to_string(), shard.clone().into())));
        let views = halves
            .iter()
            .map(|(name, shape, bytes)| (*name, TensorView::new(Dtype::F16, shape.clone(), bytes).unwrap()));
        std::fs::write(dir.path().join(shard), safetensors::serialize(views, None).unwrap()).unwrap();
    }
    let index = serde_json::json!({ "weight_map": map }).to_string();
    std::fs::write(dir.path().join("model.safetensors.index.json"), index).unwrap();
    let config = ModelConfig { path: Some(dir.path().into()), device: "cpu".into(), ..ModelConfig::default() };
    (dir, config)
}

fn cpu(path: Option<PathBuf>) -> ModelConfig {
    ModelConfig { path, device: "cpu".into(), ..ModelConfig::default() }
}

/// The largest difference of a logit between base and adapter, and the merged model.
fn merged_differs(base: &ModelConfig, lora: &LoraConfig, weights: impl Fn(&Trainer) -> Vec<f32>) -> f32 {
    let dir = tempfile::tempdir().unwrap();
    let trainer = Trainer::new(Model::load(base).unwrap(), lora, 0, 1).unwrap();
    let weights = AdapterWeights(weights(&trainer).into());
    trainer.write_merged(base, &weights, &[], dir.path()).unwrap();
    let merged =
        Trainer::new(Model::load(&cpu(Some(dir.path().into()))).unwrap(), &LoraConfig::default(), 0, 1).unwrap();
    let tokens = golden("patterns").tokens;
    let adapted = trainer.logits(Some(&weights.0), &tokens).unwrap();
    assert!(largest_difference(&adapted, &trainer.logits(None, &tokens).unwrap()) > 0.1, "the adapter does nothing");
    largest_difference(&adapted, &merged.logits(None, &tokens).unwrap())
}

#[test]
fn a_merged_model_gives_the_logits_of_base_and_adapter() {
    let differs = merged_differs(&cpu(None), &following("patterns"), |trainer| trainer.start().0.to_vec());
    assert!(differs < 1e-4, "a logit differs by {differs}");
    let residual = LoraConfig { rank: 2, residual: true, ..LoraConfig::default() };
    let differs = merged_differs(&cpu(None), &residual, |trainer| {
        anywhere(trainer).iter().enumerate().map(|(at, value)| value + 0.02 * (at as f32).sin()).collect()
    });
    assert!(differs < 1e-4, "with residuals a logit differs by {differs}");
}

#[test]
fn a_merged_model_keeps_shards_and_type_of_its_base() {
    let (_dir, base) = half_base();
    let differs = merged_differs(&base, &following("patterns"), |trainer| trainer.start().0.to_vec());
    assert!(differs < 0.05, "a logit differs by {differs}: more than f16 rounds");
    let to = tempfile::tempdir().unwrap();
    let trainer = Trainer::new(Model::load(&base).unwrap(), &following("patterns"), 0, 1).unwrap();
    trainer.write_merged(&base, trainer.start(), &[], to.path()).unwrap();
    let mut files: Vec<String> =
        to.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    let expected = [
        "config.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ];
    assert_eq!(files, expected);
    let bytes = std::fs::read(to.path().join(expected[1])).unwrap();
    let shard = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert!(shard.tensors().iter().all(|(_, view)| view.dtype() == safetensors::Dtype::F16));
}

#[test]
fn a_merged_model_does_not_overwrite_its_base() {
    let (dir, base) = half_base();
    let trainer = Trainer::new(Model::load(&base).unwrap(), &LoraConfig::default(), 0, 1).unwrap();
    let error = trainer.write_merged(&base, trainer.start(), &[], dir.path()).unwrap_err().to_string();
    assert!(error.ends_with("is the base model's own folder"), "{error}");
}

#[test]
fn every_layer_of_a_projection_may_have_its_own_rank_and_scale() {
    let lora = LoraConfig {
        rank: 2,
        targets: Targets::All,
        rank_pattern: [("k_proj".to_string(), 1), ("up_proj".to_string(), 3)].into(),
        alpha_pattern: [("v_proj".to_string(), 1.0)].into(),
        rslora: true,
        ..LoraConfig::default()
    };
    let trainer = trainer(&lora);
    check_gradient(&trainer, &anywhere(&trainer), &sequences());
}
