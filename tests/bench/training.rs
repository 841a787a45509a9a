//! The time of a step of local training on one thread: a Llama of random weights (hidden 256, inner 688, 4 blocks, 8
//! heads, vocabulary 4096), LoRA of rank 8 on queries and values, Adam, 8 sequences of 128 tokens.
//!
//! `cargo bench --bench training` prints the CPU time a step and the peak of resident memory. With a folder as argument
//! it leaves the model and the adapter that training starts from there and prints one JSON object: what
//! `tests/speed/compare.py` runs beside PyTorch on the same folder.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use cellm::adapter::peft;
use cellm::data::{Goal, Sequence};
use cellm::trainer::{LocalConfig, LoraConfig, Model, ModelConfig, TrainKey, Trainer};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

/// The binary's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const HIDDEN: usize = 256;
const INNER: usize = 688;
const BLOCKS: usize = 4;
const HEADS: usize = 8;
const VOCABULARY: usize = 4096;
const SEQUENCES: usize = 8;
const LENGTH: usize = 128;
/// Steps of one measurement, after as many to warm up.
const STEPS: u32 = 10;

/// Writes the model's folder: numbers spread around 0 with a deviation of 0.02, norms of 1.
fn make(folder: &Path) {
    let config = serde_json::json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": HIDDEN, "intermediate_size": INNER,
        "num_hidden_layers": BLOCKS, "num_attention_heads": HEADS, "num_key_value_heads": HEADS, "vocab_size": VOCABULARY,
        "max_position_embeddings": LENGTH, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
        "tie_word_embeddings": false, "bos_token_id": 1, "eos_token_id": 2, "torch_dtype": "float32",
    });
    std::fs::create_dir_all(folder).expect("the folder");
    std::fs::write(folder.join("config.json"), config.to_string()).expect("config.json");
    std::fs::copy("engine/trainer/bundled/stories260k/tokenizer.json", folder.join("tokenizer.json"))
        .expect("a tokenizer");
    let mut shapes = vec![
        ("model.embed_tokens.weight".to_owned(), vec![VOCABULARY, HIDDEN]),
        ("lm_head.weight".to_owned(), vec![VOCABULARY, HIDDEN]),
        ("model.norm.weight".to_owned(), vec![HIDDEN]),
    ];
    for block in 0..BLOCKS {
        let mut tensor = |name: &str, shape: &[usize]| {
            shapes.push((format!("model.layers.{block}.{name}.weight"), shape.to_vec()));
        };
        for name in ["q_proj", "k_proj", "v_proj", "o_proj"] {
            tensor(&format!("self_attn.{name}"), &[HIDDEN, HIDDEN]);
        }
        tensor("mlp.gate_proj", &[INNER, HIDDEN]);
        tensor("mlp.up_proj", &[INNER, HIDDEN]);
        tensor("mlp.down_proj", &[HIDDEN, INNER]);
        tensor("input_layernorm", &[HIDDEN]);
        tensor("post_attention_layernorm", &[HIDDEN]);
    }
    let mut state = 1_u64;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    let bytes: Vec<Vec<u8>> = shapes
        .iter()
        .map(|(_, shape)| {
            // The sum of twelve uniform numbers has a deviation of 1.
            let mut value = || (0..12).map(|_| uniform()).sum::<f32>() - 6.0;
            let norm = shape.len() == 1;
            let of = |value: f32| if norm { 1.0 } else { 0.02 * value };
            (0..shape.iter().product::<usize>()).flat_map(|_| of(value()).to_le_bytes()).collect()
        })
        .collect();
    let views = shapes.iter().zip(&bytes).map(|((name, shape), bytes)| {
        (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).expect("a tensor"))
    });
    let metadata = std::collections::HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let path = folder.join("model.safetensors");
    safetensors::serialize_to_file(views, Some(metadata), &path).expect("the weights");
}

/// The training text, the same in `compare.py`.
fn sequences() -> Vec<Sequence> {
    let token = |row: usize, column: usize| ((row * 7919 + column * 1049 + row * column * 31) % VOCABULARY) as u32;
    let of = |row| (0..LENGTH).map(|column| token(row, column)).collect();
    (0..SEQUENCES).map(|row| Sequence { tokens: of(row), goal: Goal::From(0), image: None }).collect()
}

/// CPU seconds of this thread; Linux counts them in nanoseconds.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    text.split_whitespace().next().and_then(|first| first.parse::<f64>().ok()).expect("a number") / 1e9
}

/// The peak of this process's resident memory, in MB.
fn peak_mb() -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse::<f64>().expect("a number") / 1024.0
}

fn main() {
    let given = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let folder = given.as_ref().map_or_else(|| temporary.path().to_owned(), |given| given.into());
    if !folder.join("model.safetensors").exists() {
        make(&folder);
    }
    let config = ModelConfig { path: Some(folder.clone()), device: "cpu".into(), ..ModelConfig::default() };
    let model = Model::load(&config).expect("the model");
    let lora = LoraConfig { targets: ["q_proj", "v_proj"].into(), ..LoraConfig::default() };
    let trainer = Trainer::new(model, &lora, 0, 1).expect("the adapter");
    let about = trainer.model().peft_config(&lora, trainer.layout(), &[]);
    peft::write(&folder.join("adapter"), trainer.layout(), trainer.start(), &about).expect("the adapter's folder");

    let local = LocalConfig { lr: 1e-3, steps: STEPS, batch: SEQUENCES, ..LocalConfig::default() };
    let (key, never, data) = (TrainKey { seed: 1, round: 1, client: 0 }, AtomicBool::new(false), sequences());
    let run = || trainer.train(&trainer.start().0, &data, &local, key, &never, None).expect("the training");
    run();
    let (cpu, wall) = (cpu_seconds(), Instant::now());
    let trained = run();
    let cpu = (cpu_seconds() - cpu) / f64::from(STEPS);
    let wall = wall.elapsed().as_secs_f64() / f64::from(STEPS);
    if given.is_some() {
        let json = serde_json::json!({ "cpu": cpu, "wall": wall, "loss": trained.loss, "peak_mb": peak_mb() });
        println!("{json}");
        return;
    }
    println!("Llama of 4 blocks, hidden 256, LoRA r 8 on q and v, 8 x 128 tokens, one thread, {STEPS} steps");
    println!("  a step         {:.1} ms of CPU, {:.1} ms of wall time", cpu * 1e3, wall * 1e3);
    println!("  mean loss      {:.6}", trained.loss);
    println!("  peak resident  {:.0} MB", peak_mb());
}
