//! The start of a run from an adapter folder in place of the seed. Policies leave coordinates out; what they fall
//! back to is that start.

use std::path::Path;

use cellm::config::Config;
use cellm::server::OptimizerKind;
use serde_json::Value;

use crate::support::{lines, run, run_again, small};

/// Three rounds with everything sent, so that what is evaluated and written is the server's adapter to the bit.
fn dense() -> Config {
    let mut config = small();
    config.server.eval_every = 3;
    config.server.optimizer = OptimizerKind::FedAvg;
    config.client.lr = 1e-2;
    for direction in [&mut config.download, &mut config.upload] {
        direction.policy = "dense".into();
        direction.density = 1.0;
        direction.bits = cellm::compressor::Bits::ThirtyTwo;
    }
    config
}

/// A round from the folder `init`, of which a client is sent a thousandth and in which it learns nothing.
fn sparse(init: &Path) -> Config {
    let mut config = small();
    config.run.rounds = 1;
    config.server.eval_every = 1;
    config.client.lr = 0.0;
    config.download.density = 0.001;
    config.upload.density = 0.001;
    config.lora.init = Some(init.into());
    config
}

fn losses(run_dir: &Path) -> Vec<f64> {
    lines(&run_dir.join("metrics.jsonl")).iter().filter_map(|row: &Value| row["eval_loss"].as_f64()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sparse_run_from_a_folder_evaluates_like_the_adapter_in_it_and_goes_on_from_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let trained = run(dense(), &dir.path().join("dense")).await.unwrap();
    let (before, after) = (trained.eval_loss_before.unwrap(), trained.eval_loss_after.unwrap());
    assert!(after < before - 0.05, "{before} to {after}: the folder and the seeded start are to differ");

    let of_run = dir.path().join("flasc");
    run(sparse(&trained.adapter), &of_run).await.unwrap();
    let found = losses(&of_run);
    // The thousandth travels in 16 bits.
    assert!(found.len() == 2 && found.iter().all(|loss| (loss - after).abs() < 1e-5), "{found:?} is not {after}");

    let mut frozen = sparse(&trained.adapter);
    for direction in [&mut frozen.download, &mut frozen.upload] {
        direction.policy = "role-mask".into();
        direction.density = 1.0;
        direction.bits = cellm::compressor::Bits::ThirtyTwo;
        direction.options.insert("scheme".into(), "ffa-lora".into());
    }
    let of_run = dir.path().join("ffa-lora");
    run(frozen.clone(), &of_run).await.unwrap();
    assert_eq!(losses(&of_run), [after, after], "a frozen A is that of the folder");

    let file = trained.adapter.join("adapter_model.safetensors");
    let mut bytes = std::fs::read(&file).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    frozen.run.rounds = 2;
    let error = run_again(frozen, &of_run).await.unwrap_err().to_string();
    assert!(error.contains("config.start is ") && error.contains(" in the journal and "), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_goes_on_over_no_other_model_or_tokenizer_than_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let (model, of_run) = (dir.path().join("model"), dir.path().join("run"));
    std::fs::create_dir(&model).unwrap();
    let bundled = Path::new(env!("CARGO_MANIFEST_DIR")).join("engine/trainer/bundled/stories260k");
    for file in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(bundled.join(file), model.join(file)).unwrap();
    }
    let mut config = small();
    config.run.rounds = 1;
    config.model.path = Some(model.clone());
    run(config.clone(), &of_run).await.unwrap();
    config.run.rounds = 2;
    let refused = async |config: &Config| run_again(config.clone(), &of_run).await.unwrap_err().to_string();

    let weights = std::fs::read(model.join("model.safetensors")).unwrap();
    let mut other = weights.clone();
    let last = other.len() - 4;
    other[last] ^= 1;
    std::fs::write(model.join("model.safetensors"), other).unwrap();
    let error = refused(&config).await;
    assert!(error.contains("config.inputs.model is ") && !error.contains("inputs.tokenizer"), "{error}");
    std::fs::write(model.join("model.safetensors"), weights).unwrap();

    let settings = std::fs::read_to_string(model.join("tokenizer_config.json")).unwrap();
    std::fs::write(model.join("tokenizer_config.json"), format!("{settings} ")).unwrap();
    let error = refused(&config).await;
    assert!(error.contains("config.inputs.tokenizer is ") && !error.contains("inputs.model"), "{error}");
    std::fs::write(model.join("tokenizer_config.json"), settings).unwrap();

    // Another layout of the same settings is no other model.
    let laid_out = std::fs::read_to_string(model.join("config.json")).unwrap().replace('\n', " ");
    std::fs::write(model.join("config.json"), laid_out).unwrap();
    run_again(config, &of_run).await.unwrap();
}
