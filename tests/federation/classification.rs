//! A federation that learns to tell classes apart: the head is trained, travels with the adapter, and ends in its folder.

use std::fmt::Write;
use std::path::Path;

use cellm::config::Config;
use cellm::data::{self, Task};
use cellm::server::OptimizerKind;
use serde_json::Value;

use crate::support::{cellm, last_json, lines, run, small, stderr};

const CLASSES: [(&str, [&str; 4]); 3] = [
    ("sea", ["the fish swam in the deep water", "a boat on the sea", "big waves and a whale", "the ship and the fish"]),
    ("farm", ["the cow ate the green grass", "a pig in the mud", "the hen and her eggs", "a horse in the barn"]),
    ("sky", ["the bird flew up high", "a cloud and the sun", "the moon and the stars", "a kite in the wind"]),
];

/// 180 short sentences with a label.
fn write_data(path: &Path) {
    let mut text = String::new();
    for number in 0..60 {
        for (label, sentences) in CLASSES {
            let sentence = sentences[number % 4];
            let name = ["Tom", "Lily", "Max", "Sue", "Ben"][number % 5];
            writeln!(text, "{{\"text\": \"{name} saw {sentence}.\", \"topic\": \"{label}\"}}").unwrap();
        }
    }
    std::fs::write(path, text).unwrap();
}

fn config(data: &Path) -> Config {
    let mut config = small();
    config.run.rounds = 5;
    config.server.eval_every = 1;
    config.server.optimizer = OptimizerKind::FedAvg;
    config.client.steps = 8;
    config.client.lr = 1e-2;
    config.data.path = Some(data.into());
    config.data.task = Task::Classification;
    config.data.label = Some("topic".into());
    config.partition.kind = data::partition::Kind::Iid;
    config.partition.clients = 6;
    config
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_accuracy_of_a_federated_head_rises_and_the_head_is_part_of_the_adapter() {
    let dir = tempfile::tempdir().unwrap();
    let (data, run_dir) = (dir.path().join("topics.jsonl"), dir.path().join("run"));
    write_data(&data);
    let summary = run(config(&data), &run_dir).await.unwrap();
    let rows = lines(&run_dir.join("metrics.jsonl"));
    let accuracy = |row: &Value| row["eval_metric"].as_f64().unwrap();
    let (first, last) = (accuracy(&rows[0]), accuracy(rows.last().unwrap()));
    assert!(first < 0.6 && last > 0.9, "{first} to {last}");

    let settings: Value =
        serde_json::from_slice(&std::fs::read(summary.adapter.join("adapter_config.json")).unwrap()).unwrap();
    assert_eq!((&settings["task_type"], &settings["modules_to_save"]), (&"SEQ_CLS".into(), &vec!["score"].into()));
    let weights = std::fs::read(summary.adapter.join("adapter_model.safetensors")).unwrap();
    let length = u64::from_le_bytes(weights[..8].try_into().unwrap()) as usize;
    let header = String::from_utf8_lossy(&weights[8..8 + length]);
    assert!(header.contains("\"base_model.model.score.weight\":{\"dtype\":\"F32\",\"shape\":[3,64]"), "{header}");

    // The evaluation of the adapter folder finds the accuracy of the last round.
    let [path, task, label] =
        [format!("data.path={}", data.display()), "data.task=classification".into(), "data.label=topic".into()];
    let init = format!("lora.init={}", summary.adapter.display());
    let output = cellm(&["eval", "--set", &path, "--set", &task, "--set", &label, "--set", &init]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let eval = last_json(&output);
    assert_eq!((&eval["sequences"], &eval["tokens"]), (&180.into(), &180.into()));
    assert!(accuracy(&eval) > 0.9, "{eval}");
}
