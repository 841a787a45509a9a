//! The time of a step of local training: by default of a Llama of random weights (hidden 256, inner 688, 4 blocks, 8
//! heads, vocabulary 4096), LoRA of rank 8 on queries and values, Adam, 8 sequences of 128 tokens, one thread.
//!
//! `cargo bench --bench training` prints the CPU time a step and the peak of resident memory. With a JSON object as
//! argument (the fields of [`Measurement`]) it measures any model, leaves the adapter that training starts from in a
//! folder, and prints one JSON object: what `tests/speed/compare.py` runs beside PyTorch on the same folder.

use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use cellm::adapter::peft::{self, Targets};
use cellm::data::{Goal, Sequence};
use cellm::trainer::{LocalConfig, LoraConfig, Model, ModelConfig, Quantize, TrainKey, Trainer};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde::Deserialize;

/// The binary's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay`, and what the program sets it to.
const PURGE_DELAY: (libmimalloc_sys::mi_option_t, std::ffi::c_long) = (15, 30_000);

const HIDDEN: usize = 256;
const INNER: usize = 688;
const BLOCKS: usize = 4;
const HEADS: usize = 8;
const VOCABULARY: usize = 4096;
const LENGTH: usize = 128;

/// One measurement.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Measurement {
    /// A model's folder or GGUF file; a folder that is empty gets the random Llama.
    model: PathBuf,
    /// The folder for the adapter that training starts from; empty for none.
    adapter: PathBuf,
    /// True to leave the weights in the blocks of a GGUF file.
    keep: bool,
    /// Names of the layers with a pair, and its rank.
    targets: Vec<String>,
    rank: usize,
    /// Classes to learn; 0 for next tokens.
    classes: usize,
    /// Token ids below this occur.
    vocabulary: usize,
    sequences: usize,
    length: usize,
    /// Steps of one measurement, after as many to warm up.
    steps: u32,
    /// Clients that train side by side, the same work each.
    threads: usize,
}

impl Default for Measurement {
    fn default() -> Self {
        Self {
            model: PathBuf::new(),
            adapter: PathBuf::new(),
            keep: false,
            targets: vec!["q_proj".into(), "v_proj".into()],
            rank: 8,
            classes: 0,
            vocabulary: VOCABULARY,
            sequences: 8,
            length: LENGTH,
            steps: 10,
            threads: 1,
        }
    }
}

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
fn sequences(of: &Measurement) -> Vec<Sequence> {
    let token = |row: usize, column: usize| ((row * 7919 + column * 1049 + row * column * 31) % of.vocabulary) as u32;
    let sequence = |row: usize| {
        let goal = match of.classes {
            0 => Goal::From(0),
            classes => Goal::Class((row % classes) as u32),
        };
        Sequence { tokens: (0..of.length).map(|column| token(row, column)).collect(), goal, image: None }
    };
    (0..of.sequences).map(sequence).collect()
}

/// CPU seconds of this thread; Linux counts them in nanoseconds.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    text.split_whitespace().next().and_then(|first| first.parse::<f64>().ok()).expect("a number") / 1e9
}

/// A number of this process's memory, in MB.
fn memory_mb(name: &str) -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("a number of this name");
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<f64>().expect("a number") / 1024.0
}

/// The results of one measurement.
struct Measured {
    /// Seconds from nothing to the first step's start.
    load: f64,
    /// CPU and wall seconds of a step.
    cpu: f64,
    wall: f64,
    loss: f64,
    peak_mb: f64,
    /// Memory of the frozen weights: what loading took, and the pages of the file that training read.
    model_mb: f64,
}

fn measure(of: &Measurement) -> Measured {
    let (file_before, own_before, began) = (memory_mb("RssFile"), memory_mb("RssAnon"), Instant::now());
    let quantize = if of.keep { Quantize::Keep } else { Quantize::None };
    let path = Some(of.model.clone());
    let model = Model::load(&ModelConfig { path, device: "cpu".into(), quantize, ..ModelConfig::default() });
    let lora = LoraConfig { targets: Targets::Names(of.targets.clone()), rank: of.rank, ..LoraConfig::default() };
    let trainer = Trainer::new(model.expect("the model"), &lora, of.classes, 1).expect("the adapter");
    let (load, own) = (began.elapsed().as_secs_f64(), memory_mb("RssAnon") - own_before);
    if !of.adapter.as_os_str().is_empty() {
        let names: Vec<String> = (0..of.classes).map(|class| class.to_string()).collect();
        let about = trainer.model().peft_config(&lora, trainer.layout(), &names);
        peft::write(&of.adapter, trainer.layout(), trainer.start(), &about).expect("the adapter's folder");
    }
    let local = LocalConfig { lr: 1e-3, steps: of.steps, batch: of.sequences, ..LocalConfig::default() };
    let (key, never, data) = (TrainKey { seed: 1, round: 1, client: 0 }, AtomicBool::new(false), sequences(of));
    let together = Barrier::new(of.threads);
    let run = || trainer.train(&trainer.start().0, &data, &local, key, &never, None).expect("the training");
    let client = || {
        run();
        together.wait();
        let (cpu, wall) = (cpu_seconds(), Instant::now());
        let trained = run();
        let steps = f64::from(of.steps);
        ((cpu_seconds() - cpu) / steps, wall.elapsed().as_secs_f64() / steps, trained.loss)
    };
    let results: Vec<(f64, f64, f64)> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..of.threads).map(|_| scope.spawn(client)).collect();
        clients.into_iter().map(|client| client.join().expect("a client")).collect()
    });
    let largest = |of: fn(&(f64, f64, f64)) -> f64| results.iter().map(of).fold(0.0, f64::max);
    Measured {
        load,
        cpu: largest(|result| result.0),
        wall: largest(|result| result.1),
        loss: largest(|result| result.2),
        peak_mb: memory_mb("VmHWM"),
        model_mb: own + memory_mb("RssFile") - file_before,
    }
}

fn main() {
    // SAFETY: a call of the allocator that only sets the value of an option that it has.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY.0, PURGE_DELAY.1) };
    let given = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let mut of: Measurement = given.as_ref().map_or_else(Measurement::default, |given| {
        serde_json::from_str(given).expect("a JSON object with the fields of Measurement")
    });
    let temporary = tempfile::tempdir().expect("a temporary directory");
    if given.is_none() {
        of.model = temporary.path().to_owned();
    }
    if !of.model.is_file() && !of.model.join("config.json").exists() {
        make(&of.model);
    }
    let Measured { load, cpu, wall, loss, peak_mb, model_mb } = measure(&of);
    if given.is_some() {
        let json = serde_json::json!({
            "load": load, "cpu": cpu, "wall": wall, "loss": loss, "peak_mb": peak_mb, "model_mb": model_mb,
        });
        println!("{json}");
        return;
    }
    println!("Llama of 4 blocks, hidden 256, LoRA r 8 on q and v, 8 x 128 tokens, one thread, {} steps", of.steps);
    println!("  a step         {:.1} ms of CPU, {:.1} ms of wall time", cpu * 1e3, wall * 1e3);
    println!("  mean loss      {loss:.6}");
    println!("  peak resident  {peak_mb:.0} MB");
}
