//! A federation that learns to tell pictures apart: CIFAR-10's binary files, a tiny ViT, its head trained and sent along. And
//! made-up data of that form for other tests.

use std::path::Path;

use serde_json::Value;

use crate::support::{cellm, fixture, last_json, lines, small_run, stderr};

const SIDE: usize = 32;

const NAMES: [&str; 10] = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// Writes a folder in the binary version of CIFAR-10: two batches with `each` pictures of every one of `classes`. A class is a
/// place of the picture that is brighter, in a colour of its own; noise is on all of it.
pub fn write_cifar10(folder: &Path, classes: usize, each: usize) {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("batches.meta.txt"), NAMES.join("\n")).unwrap();
    let mut noise = 1_u32;
    let mut batches = [Vec::new(), Vec::new()];
    for number in 0..classes * each {
        let class = number % classes;
        let batch = &mut batches[number / classes % 2];
        batch.push(class as u8);
        for (colour, row, column) in (0..3 * SIDE * SIDE).map(|at| (at / SIDE / SIDE, at / SIDE % SIDE, at % SIDE)) {
            // Marsaglia 2003, "Xorshift RNGs".
            noise ^= noise << 13;
            noise ^= noise >> 17;
            noise ^= noise << 5;
            let place = 2 * (row / (SIDE / 2)) + column / (SIDE / 2);
            let bright = place == class % 4 && colour == class % 3;
            batch.push(if bright { 180 } else { 60 } + (noise >> 26) as u8);
        }
    }
    for (number, batch) in batches.iter().enumerate() {
        std::fs::write(folder.join(format!("data_batch_{}.bin", number + 1)), batch).unwrap();
    }
}

/// The settings of the run beside those of [`small_run`].
fn settings(data: &Path) -> Vec<String> {
    let set = [
        &format!("model.path={}", fixture("golden/vit").display()),
        &format!("data.path={}", data.display()),
        "data.task=classification",
        // The fixture has a head for three classes.
        "lora.head=zero",
        "partition.kind=dirichlet",
        "partition.by=label",
        "partition.clients=6",
        "server.eval_every=1",
        "server.optimizer=fedavg",
        "client.steps=12",
        "client.lr=1e-2",
    ];
    set.iter().flat_map(|set| ["--set".to_owned(), set.to_string()]).collect()
}

#[test]
fn the_accuracy_of_a_federated_vit_rises_and_its_head_is_merged_for_transformers() {
    let dir = tempfile::tempdir().unwrap();
    let (data, run_dir) = (dir.path().join("cifar"), dir.path().join("run"));
    write_cifar10(&data, 4, 50);
    let set = settings(&data);
    let set: Vec<&str> = set.iter().map(String::as_str).collect();
    let output = small_run(&run_dir, &set).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let rows = lines(&run_dir.join("metrics.jsonl"));
    let accuracy = |row: &Value| row["eval_metric"].as_f64().unwrap();
    let (first, last) = (accuracy(&rows[0]), accuracy(rows.last().unwrap()));
    assert!(first < 0.5 && last > 0.7, "{first} to {last}: a head of zeros calls everything the same");

    let read = |file: &Path| serde_json::from_slice::<Value>(&std::fs::read(file).unwrap()).unwrap();
    let settings = read(&run_dir.join("adapter/adapter_config.json"));
    assert_eq!((&settings["task_type"], &settings["modules_to_save"]), (&Value::Null, &vec!["classifier"].into()));
    let output = cellm(&["eval", "--run", &run_dir.display().to_string()]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(accuracy(&last_json(&output)), last);

    let merged = dir.path().join("merged");
    let to = [run_dir.display().to_string(), merged.display().to_string()];
    let output = cellm(&["export", "--merge", "--run", &to[0], "--to", &to[1]]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let settings = read(&merged.join("config.json"));
    assert_eq!(settings["architectures"], serde_json::json!(["ViTForImageClassification"]));
    assert_eq!(settings["id2label"], serde_json::json!({"0": "airplane", "1": "automobile", "2": "bird", "3": "cat"}));
    assert!(merged.join("preprocessor_config.json").exists());
    let [model, path] = [format!("model.path={}", to[1]), format!("data.path={}", data.display())];
    let set = ["eval", "--set", &model, "--set", &path, "--set", "data.task=classification"];
    let output = cellm(&set).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(accuracy(&last_json(&output)) > 0.7, "the checkpoint's own head is the run's: {}", last_json(&output));
}
