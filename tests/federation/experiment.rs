//! A whole experiment on the bundled data: its cells, its report, going on where it was stopped, cells that fail.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use cellm::experiment::{Experiment, Grid};
use serde_json::Value;

use crate::pictures::write_cifar10;
use crate::support::{DEADLINE, cellm, fixture, last_json, lines, stderr};

fn smoke() -> PathBuf {
    ready("paper-smoke")
}

/// An experiment that comes with the program.
fn ready(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/experiments").join(name).with_extension("toml")
}

/// The dry run's JSON for an experiment of the paper, with a tiny model and data of its own.
fn dry(name: &str, model: &str, data: &Path) -> Value {
    let dir = tempfile::tempdir().unwrap();
    let set = [format!("model.path={}", fixture(model).display()), format!("data.path={}", data.display())];
    let output = experiment(&ready(name), dir.path(), &["--dry-run", "--set", &set[0], "--set", &set[1]]);
    assert!(output.status.success(), "{}", stderr(&output));
    last_json(&output)
}

/// The methods of a dry run, in the file's order.
fn methods(dry: &Value) -> Vec<&str> {
    dry["studies"].as_array().unwrap().iter().map(|study| study["method"].as_str().unwrap()).collect()
}

fn experiment(file: &Path, out: &Path, more: &[&str]) -> Output {
    let mut command = cellm(&["experiment", "--json", "--out"]);
    command.arg(out).arg(file).args(more).output().unwrap()
}

/// When each cell's summary was written.
fn written(out: &Path) -> BTreeMap<String, SystemTime> {
    let cells = std::fs::read_dir(out.join("cells")).unwrap().map(Result::unwrap);
    let summary = |cell: std::fs::DirEntry| {
        let file = std::fs::metadata(cell.path().join("summary.json")).ok()?;
        Some((cell.file_name().into_string().unwrap(), file.modified().unwrap()))
    };
    cells.filter_map(summary).collect()
}

#[test]
fn the_smoke_experiment_has_a_report_and_no_cell_is_run_twice() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("smoke");
    let output = experiment(&smoke(), &out, &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    let outcome = last_json(&output);
    assert_eq!((&outcome["ran"], &outcome["kept"], &outcome["cells"]), (&3.into(), &0.into(), &3.into()));
    for file in ["report.html", "table.md", "cells.csv", "experiment.toml", "log.jsonl"] {
        assert!(out.join(file).exists(), "{file}");
    }
    let table = std::fs::read_to_string(out.join("table.md")).unwrap();
    assert!(table.contains("| dense (baseline) | 1 |") && table.contains("2: client.lr = "), "{table}");
    let first = written(&out);
    assert_eq!(first.len(), 3);
    for cell in first.keys() {
        let summary = std::fs::read_to_string(out.join("cells").join(cell).join("summary.json")).unwrap();
        let timing = serde_json::from_str::<Value>(&summary).unwrap()["timing"].clone();
        assert!(timing["training_cpu_s"].as_f64().unwrap() > 0.0, "{cell}: {timing}");
    }
    let again = experiment(&smoke(), &out, &[]);
    assert!(again.status.success(), "{}", stderr(&again));
    assert_eq!((&last_json(&again)["ran"], &last_json(&again)["kept"]), (&0.into(), &3.into()));
    assert_eq!(written(&out), first);
    let other = experiment(&smoke(), &out, &["--set", "client.batch=3"]);
    assert_eq!(other.status.code(), Some(2));
    assert!(stderr(&other).contains("client.batch was 2 and is 3 now"), "{}", stderr(&other));
    let dry = experiment(&smoke(), &out, &["--dry-run"]);
    assert!(dry.status.success(), "{}", stderr(&dry));
    let dry = last_json(&dry);
    assert_eq!((&dry["cells"], &dry["pace"]["cells"], &dry["seconds_left"]), (&3.into(), &3.into(), &0.0.into()));
}

#[test]
fn the_papers_image_task_is_planned_with_all_its_methods() {
    let dir = tempfile::tempdir().unwrap();
    // Five pictures for each of 500 clients.
    write_cifar10(dir.path(), 10, 250);
    let dry = dry("paper-image", "golden/vit", dir.path());
    let methods = methods(&dry);
    assert_eq!(methods.len(), 15, "{methods:?}");
    for method in ["dense", "low-rank-1", "ffa-lora", "adapter-lth", "hetlora", "flasc-het", "flasc-64-f16"] {
        assert!(methods.contains(&method), "{methods:?}");
    }
    assert_eq!(dry["cells"], 3 * methods.len());
}

#[test]
fn the_papers_text_task_is_planned_with_every_pair_of_densities() {
    let dir = tempfile::tempdir().unwrap();
    let line = |number: usize| format!("{{\"text\": \"w{} w{}\", \"y\": {}}}\n", number % 7, number % 64, number % 20);
    let data = dir.path().join("news.jsonl");
    std::fs::write(&data, (0..5 * 350).map(line).collect::<String>()).unwrap();
    let dry = dry("paper-20news", "golden/gpt2-classes", &data);
    let methods = methods(&dry);
    let pairs = methods.iter().filter(|method| method.starts_with("flasc-down") && method.ends_with("f32")).count();
    assert_eq!((pairs, methods.len()), (15, 32), "{methods:?}");
}

#[test]
fn an_experiment_killed_in_the_middle_goes_on_to_the_same_adapters() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, out) = (dir.path().join("whole"), dir.path().join("killed"));
    assert!(experiment(&smoke(), &whole, &["--jobs", "2"]).status.success());
    let mut command = cellm(&["experiment", "--out"]);
    let mut child = command.arg(&out).arg(smoke()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let start = Instant::now();
    // In the second cell, the first being finished.
    let began = |cell: PathBuf| lines(&cell.join("metrics.jsonl")).len() > 1 && !cell.join("summary.json").exists();
    let middle = || {
        let cells: Vec<PathBuf> =
            std::fs::read_dir(out.join("cells")).into_iter().flatten().map(|cell| cell.unwrap().path()).collect();
        cells.len() == 2 && cells.into_iter().any(began)
    };
    while !middle() {
        assert!(start.elapsed() < DEADLINE, "no second cell began");
        assert!(child.try_wait().unwrap().is_none(), "it ended before it could be killed");
        sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let finished = written(&out);
    assert_eq!(finished.len(), 1);
    let output = experiment(&smoke(), &out, &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!((&last_json(&output)["ran"], &last_json(&output)["kept"]), (&2.into(), &1.into()));
    let after = written(&out);
    assert!(finished.iter().all(|(cell, time)| after[cell] == *time));
    for cell in after.keys() {
        let hash = |of: &Path| {
            let text = std::fs::read_to_string(of.join("cells").join(cell).join("summary.json")).unwrap();
            serde_json::from_str::<Value>(&text).unwrap()["adapter_hash"].clone()
        };
        assert_eq!(hash(&out), hash(&whole), "{cell}");
    }
}

#[test]
fn a_cell_that_fails_is_reported_and_the_others_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("grid.toml");
    let text = "seeds = [1]\n[methods.dense]\ndownload = { policy = \"dense\", bits = 32 }\n[methods.broken]\nupload.policy = \"no-such.wasm\"\n\
                [run]\nrounds = 1\n[server]\ncohort = 2\neval_every = 0\n[client]\ntrainer = \"noop\"\n";
    std::fs::write(&file, text).unwrap();
    let out = dir.path().join("out");
    let output = experiment(&file, &out, &[]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let outcome = last_json(&output);
    assert_eq!((&outcome["ran"], &outcome["failed"][0]["cell"]), (&1.into(), &"broken_seed=1".into()));
    assert!(outcome["failed"][0]["reason"].as_str().unwrap().contains("no-such.wasm"), "{outcome}");
    assert!(std::fs::read_to_string(out.join("table.md")).unwrap().contains("broken_seed=1 failed"));
    // One cell of another version: it alone is reported, and the other is kept.
    let config = out.join("cells/dense_seed=1/config.toml");
    std::fs::write(&config, std::fs::read_to_string(&config).unwrap() + "\n[future]\nkey = 1\n").unwrap();
    let output = experiment(&file, &out, &[]);
    let outcome = last_json(&output);
    assert_eq!((output.status.code(), &outcome["failed"].as_array().unwrap().len()), (Some(1), &2), "{outcome}");
    let reason = outcome["failed"].as_array().unwrap().iter().find(|failed| failed["cell"] == "dense_seed=1").unwrap();
    assert!(reason["reason"].as_str().unwrap().contains("future.key"), "{outcome}");
    let missing = experiment(&dir.path().join("none.toml"), &out, &[]);
    assert_eq!(missing.status.code(), Some(2), "{}", stderr(&missing));
}

#[test]
fn every_experiment_that_comes_with_the_program_is_a_grid_of_valid_configs() {
    let files = std::fs::read_dir(smoke().parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
    let text = |file: &PathBuf| std::fs::read_to_string(file).unwrap();
    let grids: Vec<PathBuf> = files.filter(|file| text(file).contains("\n[methods.")).collect();
    assert!(grids.len() >= 8, "{grids:?}");
    for file in grids {
        let experiment = Experiment::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let grid = Grid::new(experiment, Vec::new()).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        assert!(grid.studies.len() > 1, "{}", file.display());
    }
}
