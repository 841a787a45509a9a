//! A GPU beside the CPU: the same numbers, and tokens a second. Needs the cargo feature `cuda`.
//!
//! `cargo bench --features cuda --bench gpu -- parity [f32|bf16] [FAMILY...]` compares losses and gradients of every fixture in
//! `tests/fixtures/golden` that reads text, on the device with those on the CPU. `... -- speed FOLDER f32|bf16 SETTING...` trains clients
//! side by side on one copy of the model in FOLDER and prints a JSON object a setting, which is CLIENTSxSEQUENCES, with a `c`
//! behind for gradient checkpointing: what `tests/speed/gpu.py` runs beside PyTorch. The device is `CELLM_MODEL__DEVICE`, or `cuda:0`.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use cellm::adapter::peft;
use cellm::data::{Goal, Sequence};
use cellm::trainer::{Dtype, LocalConfig, LoraConfig, Model, ModelConfig, OptimizerKind, TrainKey, Trained, Trainer};

/// The binary's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const LENGTH: usize = 128;
/// Steps of one measurement, after as many to warm up.
const STEPS: u32 = 10;

fn device() -> String {
    std::env::var("CELLM_MODEL__DEVICE").unwrap_or_else(|_| "cuda:0".into())
}

fn key(client: u32) -> TrainKey {
    TrainKey { seed: 1, round: 1, client }
}

fn train(trainer: &Trainer, data: &[Sequence], local: &LocalConfig, client: u32) -> Trained {
    let never = AtomicBool::new(false);
    trainer.train(&trainer.start().0, data, local, key(client), &never, None).expect("the training")
}

/// A fixture's trainer and text; `None` where it reads pictures.
fn golden(folder: &Path, device: &str, dtype: Dtype) -> Option<(Trainer, Vec<Sequence>)> {
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(folder.join("golden.json")).ok()?).ok()?;
    let tokens: Vec<u32> = json["tokens"].as_array()?.iter().filter_map(|token| Some(token.as_u64()? as u32)).collect();
    let classes = json["classes"].as_u64()? as usize;
    let goal = json["class"].as_u64().map_or(Goal::From(0), |class| Goal::Class(class as u32));
    if tokens.is_empty() {
        return None;
    }
    let adapter = peft::read_config(&folder.join("adapter")).expect("the adapter");
    let lora = LoraConfig {
        rank: adapter.rank,
        alpha: adapter.alpha,
        targets: adapter.targets,
        init: Some(folder.join("adapter")),
        ..LoraConfig::default()
    };
    let config = ModelConfig { path: Some(folder.into()), device: device.into(), dtype, ..ModelConfig::default() };
    let model = Model::load(&config).expect("the model");
    let sequence = Sequence { tokens, goal, image: None };
    let shorter = Sequence { tokens: sequence.tokens[3..].to_vec(), ..sequence.clone() };
    Some((Trainer::new(model, &lora, classes, 1).expect("the adapter"), vec![sequence, shorter]))
}

/// The length of the difference by that of the first.
fn far(one: &[f32], other: &[f32]) -> f64 {
    let squares =
        |values: &mut dyn Iterator<Item = f32>| values.map(|value| f64::from(value).powi(2)).sum::<f64>().sqrt();
    squares(&mut one.iter().zip(other).map(|(one, other)| one - other)) / squares(&mut one.iter().copied())
}

/// Prints how far the device is from the CPU in the types and families asked for, or in all; whether all of it is near.
fn parity(asked: &[&str]) -> bool {
    let is_asked = |name: &str, of: &[&str]| asked.contains(&name) || asked.iter().all(|asked| !of.contains(asked));
    let mut folders: Vec<PathBuf> = std::fs::read_dir("tests/fixtures/golden")
        .expect("fixtures")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    folders.sort();
    let gradient = LocalConfig {
        optimizer: OptimizerKind::Sgd,
        lr: 1.0,
        momentum: 0.0,
        max_grad_norm: 0.0,
        steps: 1,
        batch: 2,
        ..LocalConfig::default()
    };
    let ten_steps = LocalConfig { steps: 10, batch: 2, ..LocalConfig::default() };
    let names: Vec<String> =
        folders.iter().map(|folder| folder.file_name().unwrap_or_default().to_string_lossy().into_owned()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    println!("family            type          loss    CPU's loss    gradient off  10 Adam steps off  seconds");
    let (mut near, began) = (true, Instant::now());
    for (folder, name) in folders.iter().zip(&names).filter(|(_, name)| is_asked(name, &names)) {
        let Some((cpu, data)) = golden(folder, "cpu", Dtype::F32) else { continue };
        let types = [(Dtype::F32, "f32", 0.01), (Dtype::Bf16, "bf16", 0.1)];
        for (dtype, label, limit) in types.into_iter().filter(|(_, label, _)| is_asked(label, &["f32", "bf16"])) {
            let Some((other, _)) = golden(folder, &device(), dtype) else { continue };
            let [here, there] = [&cpu, &other].map(|trainer| train(trainer, &data, &gradient, 0));
            let of_gradient = far(&here.delta.0, &there.delta.0);
            let [stepped_here, stepped_there] = [&cpu, &other].map(|trainer| train(trainer, &data, &ten_steps, 0));
            let of_steps = far(&stepped_here.delta.0, &stepped_there.delta.0);
            let (loss, of_cpu, seconds) = (there.loss, here.loss, began.elapsed().as_secs_f64());
            println!(
                "{name:<16} {label:<5} {loss:>12.6} {of_cpu:>13.6} {of_gradient:>15.2e} {of_steps:>18.2e} {seconds:>8.1}"
            );
            near &= of_gradient < limit && (loss - of_cpu).abs() < limit * of_cpu;
        }
    }
    println!("{}", if near { "parity holds" } else { "PARITY FAILS" });
    near
}

/// The training text, the same in `gpu.py`.
fn sequences(count: usize, vocabulary: usize) -> Vec<Sequence> {
    let token = |row: usize, column: usize| ((row * 7919 + column * 1049 + row * column * 31) % vocabulary) as u32;
    let of = |row| (0..LENGTH).map(|column| token(row, column)).collect();
    (0..count).map(|row| Sequence { tokens: of(row), goal: Goal::From(0), image: None }).collect()
}

fn speed(folder: &str, dtype: &str, settings: &[&str]) {
    let config: serde_json::Value =
        serde_json::from_slice(&std::fs::read(Path::new(folder).join("config.json")).expect("config.json"))
            .expect("JSON");
    let vocabulary = config["vocab_size"].as_u64().expect("vocab_size") as usize;
    let began = Instant::now();
    let dtype = if dtype == "bf16" { Dtype::Bf16 } else { Dtype::F32 };
    let config = ModelConfig { path: Some(folder.into()), device: device(), dtype, ..ModelConfig::default() };
    let model = Model::load(&config).expect("the model");
    let lora = LoraConfig { targets: ["q_proj", "v_proj"].into(), ..LoraConfig::default() };
    let trainer = Trainer::new(model, &lora, 0, 1).expect("the adapter");
    let about = trainer.model().peft_config(&lora, trainer.layout());
    peft::write(&Path::new(folder).join("adapter"), trainer.layout(), trainer.start(), &about)
        .expect("the adapter's folder");
    eprintln!("{}, loaded in {:.1} s", trainer.model().describe(), began.elapsed().as_secs_f64());
    for setting in settings {
        println!("{}", serde_json::to_string(&measured(&trainer, vocabulary, setting)).expect("JSON"));
    }
}

fn measured(trainer: &Trainer, vocabulary: usize, setting: &str) -> serde_json::Value {
    let (plain, checkpointing) = setting.strip_suffix('c').map_or((setting, false), |plain| (plain, true));
    let (clients, count) = plain.split_once('x').expect("CLIENTSxSEQUENCES");
    let (clients, count): (usize, usize) = (clients.parse().expect("clients"), count.parse().expect("sequences"));
    let local = LocalConfig {
        lr: 1e-3,
        steps: STEPS,
        batch: count,
        gradient_checkpointing: checkpointing,
        ..LocalConfig::default()
    };
    let data = sequences(count, vocabulary);
    let all = || -> Vec<f64> {
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..clients as u32)
                .map(|client| {
                    let (data, local) = (&data, &local);
                    scope.spawn(move || train(trainer, data, local, client).loss)
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("a client")).collect()
        })
    };
    let began = Instant::now();
    all();
    eprintln!("{setting}: warm after {:.1} s", began.elapsed().as_secs_f64());
    let warm = began.elapsed().as_secs_f64();
    let began = Instant::now();
    let losses = all();
    let wall = began.elapsed().as_secs_f64();
    let tokens = (clients * count * LENGTH) as f64 * f64::from(STEPS);
    serde_json::json!({
        "setting": setting, "tokens_per_second": tokens / wall, "step_seconds": wall / f64::from(STEPS), "loss": losses[0],
        "warm_up_seconds": warm,
    })
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if arguments.is_empty() {
        arguments.push("parity");
    }
    match arguments[..] {
        ["parity", ref asked @ ..] => {
            if !parity(asked) {
                std::process::exit(1);
            }
        }
        ["speed", folder, dtype, ref settings @ ..] => speed(folder, dtype, settings),
        _ => {
            eprintln!("parity [f32|bf16] [FAMILY...], or speed FOLDER f32|bf16 CLIENTSxSEQUENCES[c]...");
            std::process::exit(2);
        }
    }
}
