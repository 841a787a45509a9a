//! The engine's cost around training: virtual clients that send dense f32, a no-op trainer, everything else real
//! (actors, policies, frames, checksums, aggregation, journal). One row is many clients with a small adapter, one is
//! few clients with a large one.
//!
//! `cargo bench --bench orchestration` prints for each row the CPU-seconds a round (start-up is taken out by the difference of
//! a long and a short run) and the peak of resident memory, each run in a process of its own; and the wall time of a
//! three-round run from the command line.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use half::f16;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};

/// Repetitions of which the median is printed.
const REPETITIONS: usize = 5;

/// The clients of a measurement, and the size and number of their updates.
struct Row {
    name: &'static str,
    clients: u32,
    rank: u32,
    /// Rounds of the short and of the long run.
    rounds: [u32; 2],
    repetitions: usize,
    goal: &'static str,
}

const ROWS: [Row; 2] = [
    // 254,320 values on the bundled model.
    Row {
        name: "1000 clients x 1.02 MB",
        clients: 1000,
        rank: 44,
        rounds: [1, 6],
        repetitions: REPETITIONS,
        goal: "0.37 CPU-s, 200 MB",
    },
    // 24,999,744 values on the made model.
    Row { name: "10 clients x 100 MB", clients: 10, rank: 1869, rounds: [1, 3], repetitions: 3, goal: "900 MB" },
];

/// Width of the made model, and of its multilayer perceptron: wide enough for adapters of 100 MB.
const WIDTH: usize = 1024;
const INNER: usize = 704;

/// Writes a Llama of one block with the bundled model's tokenizer; nothing is computed with its weights.
fn make_model(folder: &Path) {
    let bundled = Path::new(env!("CARGO_MANIFEST_DIR")).join("engine/trainer/bundled/stories260k");
    fs::create_dir_all(folder).expect("a folder");
    for file in ["tokenizer.json", "tokenizer_config.json"] {
        fs::copy(bundled.join(file), folder.join(file)).expect("the bundled tokenizer");
    }
    let config = fs::read_to_string(bundled.join("config.json")).expect("the bundled config");
    let mut config: Value = serde_json::from_str(&config).expect("JSON");
    let sizes = [
        ("hidden_size", WIDTH),
        ("intermediate_size", INNER),
        ("num_hidden_layers", 1),
        ("num_attention_heads", 16),
        ("num_key_value_heads", 16),
    ];
    sizes.into_iter().for_each(|(key, size)| config[key] = json!(size));
    fs::write(folder.join("config.json"), config.to_string()).expect("writable");
    let vocabulary = config["vocab_size"].as_u64().expect("a number") as usize;
    let layer = |name: &str| format!("model.layers.0.{name}.weight");
    let mut shapes = vec![
        ("model.embed_tokens.weight".to_owned(), vec![vocabulary, WIDTH]),
        ("model.norm.weight".into(), vec![WIDTH]),
    ];
    shapes.extend(["q", "k", "v", "o"].map(|name| (layer(&format!("self_attn.{name}_proj")), vec![WIDTH, WIDTH])));
    shapes.extend(["gate", "up"].map(|name| (layer(&format!("mlp.{name}_proj")), vec![INNER, WIDTH])));
    shapes.push((layer("mlp.down_proj"), vec![WIDTH, INNER]));
    shapes.extend(["input_layernorm", "post_attention_layernorm"].map(|name| (layer(name), vec![WIDTH])));
    let bytes: Vec<Vec<u8>> =
        shapes.iter().map(|(_, shape)| f16::from_f32(0.01).to_le_bytes().repeat(shape.iter().product())).collect();
    let views = shapes.iter().zip(&bytes).map(|((name, shape), bytes)| {
        (name, TensorView::new(Dtype::F16, shape.clone(), bytes).expect("as many bytes as the shape says"))
    });
    let file = folder.join("model.safetensors");
    safetensors::serialize_to_file(views, None, &file).expect("writable");
}

/// One run: CPU seconds and the peak of resident memory, bytes.
fn run(row: &Row, rounds: u32, dir: &Path) -> (f64, f64) {
    let out = dir.join("run");
    let mut command = Command::new(env!("CARGO_BIN_EXE_cellm"));
    command.args(["run", "-q", "--json", "--out"]).arg(&out);
    let mut set = |key: &str, value: String| {
        command.args(["--set", &format!("{key}={value}")]);
    };
    if row.rank > 64 {
        set("model.path", dir.join("model").display().to_string());
    }
    set("lora.rank", row.rank.to_string());
    set("run.rounds", rounds.to_string());
    set("partition.kind", "iid".into());
    set("partition.clients", row.clients.to_string());
    set("server.cohort", row.clients.to_string());
    set("client.trainer", "noop".into());
    for direction in ["download", "upload"] {
        set(&format!("{direction}.policy"), "dense".into());
        set(&format!("{direction}.bits"), "32".into());
    }
    let output = command.output().expect("the binary starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::remove_dir_all(&out).expect("the run's directory");
    let text = String::from_utf8(output.stdout).expect("text");
    let summary: Value = serde_json::from_str(text.lines().last().expect("a summary")).expect("JSON");
    let timing = &summary["timing"];
    let seconds = |key: &str| timing[key].as_f64().expect("a number");
    let peak = summary["peak_rss_bytes"].as_f64().expect("a number");
    (seconds("training_cpu_s") + seconds("evaluation_cpu_s") + seconds("other_cpu_s"), peak)
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

fn main() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    make_model(&dir.path().join("model"));
    for row in &ROWS {
        let (mut a_round, mut peaks) = (Vec::new(), Vec::new());
        for _ in 0..row.repetitions {
            let [short, long] = row.rounds;
            let (before, _) = run(row, short, dir.path());
            let (after, peak) = run(row, long, dir.path());
            a_round.push((after - before) / f64::from(long - short));
            peaks.push(peak);
        }
        let (seconds, peak) = (median(a_round), median(peaks) / 1e6);
        let Row { name, repetitions, goal, .. } = row;
        println!(
            "{name} dense f32, no-op trainer, medians of {repetitions}: {seconds:.2} CPU-seconds a round, {peak:.0} MB \
             resident at the peak (goal: at most {goal})"
        );
    }
    let mut wall = Vec::new();
    for repetition in 0..REPETITIONS {
        let out = dir.path().join(format!("cli-{repetition}"));
        let started = Instant::now();
        let mut command = Command::new(env!("CARGO_BIN_EXE_cellm"));
        command.args(["run", "-q", "--set", "client.trainer=noop", "--set", "run.rounds=3", "--out"]).arg(out);
        assert!(command.output().expect("the binary starts").status.success());
        wall.push(started.elapsed().as_secs_f64());
    }
    println!("3-round no-op run from the command line: {:.2} s (goal: at most 1)", median(wall));
}
