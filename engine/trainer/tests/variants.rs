//! The engine beside `transformers`, key by key of config.json (tests/golden/variants.py).

use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::{Map, Value};

use super::*;
use crate::adapter::float_bytes;
use crate::data::Goal;
use crate::trainer::family::Spec;

fn golden() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/golden")
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The base of a variant with its change, in a folder of its own.
pub(super) fn folder(variant: &Value) -> tempfile::TempDir {
    let (base, dir) = (golden().join(variant["base"].as_str().unwrap()), tempfile::tempdir().unwrap());
    let mut config = json(&base.join("config.json"));
    for (key, value) in variant["set"].as_object().into_iter().flatten() {
        config[key] = value.clone();
    }
    for key in variant["drop"].as_array().into_iter().flatten() {
        config.as_object_mut().unwrap().remove(key.as_str().unwrap());
    }
    std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    std::fs::copy(base.join("tokenizer.json"), dir.path().join("tokenizer.json")).unwrap();
    let bytes = std::fs::read(base.join("model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let values = |name: &str| {
        float_bytes::floats(file.tensor(name).unwrap().dtype(), file.tensor(name).unwrap().data()).unwrap()
    };
    let shape = |name: &str| file.tensor(name).unwrap().shape().to_vec();
    let dropped =
        |name: &str| variant["drop_tensors"].as_array().is_some_and(|all| all.iter().any(|gone| gone == name));
    let kept = file.names().into_iter().filter(|name| !dropped(name));
    let mut tensors: Vec<(String, Vec<usize>, Vec<u8>)> = kept
        .map(|name| (name.to_owned(), shape(name), float_bytes::bytes(Dtype::F32, &values(name)).unwrap()))
        .collect();
    for (name, made) in variant["tensors"].as_object().into_iter().flatten() {
        let (source, factor) = (made[0].as_str().unwrap(), made[1].as_f64().unwrap() as f32);
        let made: Vec<f32> = values(source).iter().map(|value| value * factor).collect();
        tensors.push((name.clone(), shape(source), float_bytes::bytes(Dtype::F32, &made).unwrap()));
    }
    let views =
        tensors.iter().map(|(name, shape, bytes)| (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    std::fs::write(dir.path().join("model.safetensors"), safetensors::serialize(views, None).unwrap()).unwrap();
    dir
}

/// The loss of a variant, and the logits of its class or its last position.
fn measure(variant: &Value, place: kernel::Place) -> (f64, Vec<f32>) {
    let dir = folder(variant);
    let config = ModelConfig { path: Some(dir.path().into()), device: "cpu".into(), ..ModelConfig::default() };
    let classes = if variant["base"].as_str().unwrap().ends_with("classes") { 3 } else { 0 };
    let trainer = Trainer::new(Model::load_on(&config, place).unwrap(), &LoraConfig::default(), classes, 1).unwrap();
    let goal = if classes > 0 { Goal::Class(2) } else { Goal::From(0) };
    let sequence = Sequence { tokens: tokens(&variant["tokens"]), goal, image: None };
    let logits = match classes {
        0 => trainer.logits(None, &sequence.tokens).unwrap(),
        _ => trainer.predictions(None, &sequence).unwrap(),
    };
    let last = variant["logits"].as_array().unwrap().len();
    let found = loss(&trainer, &trainer.start().0, &[sequence], 1).loss();
    (found, logits[logits.len() - last..].to_vec())
}

#[test]
fn every_key_that_changes_a_result_means_what_it_means_in_transformers() {
    let variants = json(&golden().join("variants.json"));
    for variant in variants.as_array().unwrap() {
        let name = &variant["name"];
        for place in [kernel::Place::cpu(), kernel::Place { host: false, ..kernel::Place::cpu() }] {
            let (found, logits) = measure(variant, place);
            let expected = variant["loss"].as_f64().unwrap();
            assert!((found - expected).abs() < 1e-4, "{name}: the loss is {found}, not {expected}");
            let pairs = logits.iter().zip(variant["logits"].as_array().unwrap());
            let far = pairs.map(|(found, expected)| (f64::from(*found) - expected.as_f64().unwrap()).abs());
            let far = far.fold(0.0, f64::max);
            assert!(far < 1e-4, "{name}: a logit differs by {far}");
        }
    }
}

#[test]
fn a_gradient_goes_back_through_scaled_turns_and_scores() {
    let variants = json(&golden().join("variants.json"));
    for name in ["rope: yarn", "gpt2, scaled by layer"] {
        let variant = variants.as_array().unwrap().iter().find(|variant| variant["name"] == name).unwrap();
        let dir = folder(variant);
        let config = ModelConfig { path: Some(dir.path().into()), device: "cpu".into(), ..ModelConfig::default() };
        let trainer = Trainer::new(Model::load(&config).unwrap(), &LoraConfig::default(), 0, 1).unwrap();
        let sequence = Sequence { tokens: tokens(&variant["tokens"]), goal: Goal::From(0), image: None };
        check_gradient(&trainer, &anywhere(&trainer), &[sequence]);
    }
}

/// Sizes that are small, for classes whose defaults are large.
fn small(model_type: &str) -> Map<String, Value> {
    let keys = match model_type {
        "gpt2" => serde_json::json!({ "n_embd": 24, "n_head": 4, "n_layer": 3, "n_positions": 64, "vocab_size": 64 }),
        "distilbert" => serde_json::json!({ "dim": 24, "n_heads": 4, "n_layers": 3, "max_position_embeddings": 64 }),
        "vit" => serde_json::json!({ "hidden_size": 24, "num_attention_heads": 4, "num_hidden_layers": 3 }),
        _ => serde_json::json!({
            "hidden_size": 24, "num_attention_heads": 4, "num_hidden_layers": 3, "num_key_value_heads": 2, "head_dim": 6,
            "max_position_embeddings": 64, "rope_theta": 100.0, "pad_token_id": 3,
        }),
    };
    let mut keys = keys.as_object().unwrap().clone();
    keys.insert("model_type".into(), model_type.into());
    keys
}

fn spec(keys: &Map<String, Value>) -> Result<Spec, String> {
    Spec::read(Value::Object(keys.clone()).to_string().as_bytes(), "c").map_err(|error| error.to_string())
}

#[test]
fn a_key_that_is_missing_has_the_default_of_its_class() {
    let classes = json(&golden().join("keys.json"));
    for (model_type, defaults) in classes.as_object().unwrap() {
        let bare = Map::from_iter([("model_type".to_owned(), model_type.as_str().into())]);
        let mut whole = defaults.as_object().unwrap().clone();
        whole.insert("model_type".into(), model_type.as_str().into());
        // Notes are on keys that are there.
        let read = |keys| Spec { left_out: Vec::new(), ..spec(keys).unwrap() };
        assert_eq!(read(&bare), read(&whole), "{model_type}");
    }
}

/// Another value of a key.
fn other(key: &str, default: &Value) -> Value {
    match (key, default) {
        ("hidden_act" | "activation_function" | "activation", _) => "relu".into(),
        ("rope_parameters", _) => serde_json::json!({ "rope_type": "linear", "factor": 2.0 }),
        ("layer_types", _) => serde_json::json!(["sliding_attention", "full_attention", "full_attention"]),
        ("id2label", _) => serde_json::json!({ "0": "no", "1": "yes" }),
        ("label2id", _) => serde_json::json!({ "no": 0, "yes": 1 }),
        ("problem_type", _) => "regression".into(),
        ("image_size", _) => 32.into(),
        ("patch_size", _) => 8.into(),
        ("max_window_layers", _) => 1.into(),
        ("sliding_window", _) => 5.into(),
        ("num_key_value_heads" | "num_channels" | "n_head" | "n_heads", _) => 1.into(),
        ("classifier_dropout", _) => 0.25.into(),
        ("num_attention_heads", _) => 2.into(),
        (_, Value::Bool(flag)) => (!flag).into(),
        (_, Value::Number(number)) if number.is_f64() => 0.25.into(),
        (_, Value::String(_)) => "other".into(),
        (_, _) => 8.into(),
    }
}

#[test]
fn every_key_of_every_class_is_in_its_table_and_does_what_the_table_says() {
    use crate::trainer::family::{KeyUse, key_use};
    let classes = json(&golden().join("keys.json"));
    for (model_type, defaults) in classes.as_object().unwrap() {
        let mut plain = small(model_type);
        // The position of a window is read only where there is a window.
        plain.insert("use_sliding_window".into(), true.into());
        plain.insert("max_window_layers".into(), 0.into());
        let read = spec(&plain).unwrap();
        for (key, default) in defaults.as_object().unwrap() {
            let of = || format!("{model_type}: {key}");
            let key_use = key_use(model_type, key).unwrap_or_else(|| panic!("{} is in no table", of()));
            let mut changed = plain.clone();
            changed.insert(key.clone(), if key == "use_sliding_window" { false.into() } else { other(key, default) });
            match (key_use, spec(&changed)) {
                (KeyUse::Read, Ok(found)) => assert_ne!(found, read, "{}", of()),
                (KeyUse::Read, Err(error)) => assert!(error.contains(&format!("{key} is ")), "{}: {error}", of()),
                (KeyUse::Idle, found) => assert_eq!(found.unwrap(), read, "{}", of()),
                (KeyUse::Dropout, found) => {
                    let said = found.unwrap().left_out.concat();
                    assert!(said.contains(&format!("{key} 0.25 is left out")), "{}: {said}", of());
                }
                (KeyUse::Only(_), found) => {
                    let error = found.unwrap_err();
                    assert!(error.contains(&format!("{key} is ")), "{}: {error}", of());
                }
            }
        }
    }
}
