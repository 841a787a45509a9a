//! Models of GGUF files beside `gguf` and `transformers`: tiny files made by tests/golden/gguf_files.py.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use proptest::prelude::*;
use serde_json::Value;

use super::file::GgufFile;
use crate::data::{Goal, Sequence};
use crate::trainer::{
    Generation, LocalConfig, LoraConfig, Model, ModelConfig, OptimizerKind, Quantize, TrainKey, Trainer, tokenizer,
};

const MODELS: [&str; 5] = ["llama", "llama-biases", "mistral", "qwen2", "qwen3"];

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gguf").join(name)
}

fn config(path: &Path) -> ModelConfig {
    ModelConfig { path: Some(path.into()), device: "cpu".into(), ..ModelConfig::default() }
}

fn golden(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(fixture(&format!("{name}.json"))).unwrap()).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

fn trainer(path: &Path) -> Trainer {
    Trainer::new(Model::load(&config(path)).unwrap(), &LoraConfig::default(), 0, 1).unwrap()
}

#[test]
fn the_values_of_every_type_are_those_of_the_reference_bit_for_bit() {
    let bytes = std::fs::read(fixture("blocks.gguf")).unwrap();
    let expected = std::fs::read(fixture("blocks.f32")).unwrap();
    let expected: Vec<f32> = expected.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let file = GgufFile::read(&bytes).unwrap();
    assert_eq!(file.tensors.len(), 13);
    for (tensor, expected) in file.tensors.iter().zip(expected.chunks(512)) {
        let mut found = vec![0.0; 512];
        tensor.kind.write_values(&bytes[tensor.start..tensor.start + tensor.length], &mut found);
        let same = found.iter().zip(expected).all(|(found, expected)| found.to_bits() == expected.to_bits());
        assert!(same, "{}: {:?} is not {:?}", tensor.name, &found[..8], &expected[..8]);
    }
}

#[test]
fn the_products_of_every_type_are_those_of_its_values() {
    let bytes = std::fs::read(fixture("blocks.gguf")).unwrap();
    let file = GgufFile::read(&bytes).unwrap();
    for tensor in &file.tensors {
        // Two rows of 256 values.
        let stored = &bytes[tensor.start..tensor.start + tensor.length];
        let (mut values, mut found) = (vec![0.0; 512], [0.0; 2]);
        tensor.kind.write_values(stored, &mut values);
        let input: Vec<f32> = (0..256).map(|at| (at as f32 * 0.7).sin()).collect();
        tensor.kind.write_products(stored.chunks_exact(tensor.length / 2), &input, &mut found);
        for (row, found) in values.chunks_exact(256).zip(found) {
            let terms = || row.iter().zip(&input).map(|(value, input)| f64::from(*value) * f64::from(*input));
            let (expected, size): (f64, f64) = (terms().sum(), terms().map(f64::abs).sum());
            let far = (f64::from(found) - expected).abs();
            assert!(far <= 1e-6 * size, "{}: {found} is not {expected}", tensor.name);
        }
    }
}

#[test]
fn the_logits_and_losses_of_every_architecture_are_those_of_transformers() {
    for name in MODELS {
        let (golden, trainer) = (golden(name), trainer(&fixture(&format!("{name}.gguf"))));
        let tokens = ids(&golden["tokens"]);
        let logits = trainer.logits(None, &tokens).unwrap();
        let (width, step) = (logits.len() / tokens.len(), golden["step"].as_u64().unwrap() as usize);
        let rows = golden["rows"].as_array().unwrap().iter().map(|row| row.as_u64().unwrap() as usize);
        let found: Vec<f32> =
            rows.flat_map(|row| logits[row * width..][..width].iter().copied().step_by(step)).collect();
        let expected = golden["logits"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap());
        assert_eq!(found.len(), expected.len(), "{name}");
        let far = found.iter().zip(expected).map(|(found, expected)| (f64::from(*found) - expected).abs());
        let far = far.fold(0.0, f64::max);
        assert!(far <= 1e-4, "{name}: largest error {far}");
        let sequence = Sequence { tokens, goal: Goal::From(0), image: None };
        let weights = trainer.start().0.clone();
        let evaluated = trainer.evaluate(&weights, &[sequence], 1, &AtomicBool::new(false)).unwrap();
        let loss = evaluated.loss();
        let expected = golden["loss"].as_f64().unwrap();
        assert!((loss - expected).abs() <= 1e-4, "{name}: {loss} is not {expected}");
    }
}

#[test]
fn texts_have_the_tokens_and_conversations_the_text_of_transformers() {
    for name in MODELS {
        let golden = golden(name);
        let path = fixture(&format!("{name}.gguf"));
        let tokenizer = tokenizer(&config(&path)).unwrap();
        assert_eq!(tokenizer.name(), path.display().to_string());
        for text in golden["texts"].as_array().unwrap() {
            let (text, expected) = (text["text"].as_str().unwrap(), ids(&text["ids"]));
            assert_eq!(tokenizer.encode(text).unwrap(), expected, "{name}: {text:?}");
        }
        let record = serde_json::json!({ "messages": golden["messages"] });
        assert_eq!(tokenizer.chat_text(&record), golden["rendered"].as_str().unwrap(), "{name}");
    }
}

/// The change of the adapter by one step of plain SGD with rate 1, which is its gradient.
fn change(trainer: &Trainer, weights: &[f32], sequences: &[Sequence]) -> Vec<f32> {
    let optimizer = OptimizerKind::Sgd;
    let local =
        LocalConfig { optimizer, lr: 1.0, momentum: 0.0, max_grad_norm: 0.0, steps: 1, ..LocalConfig::default() };
    let key = TrainKey { seed: 1, round: 0, client: 0 };
    trainer.train(weights, sequences, &local, key, &AtomicBool::new(false), None).unwrap().delta.0
}

#[test]
fn a_model_whose_blocks_are_kept_computes_the_same() {
    for name in MODELS {
        let path = fixture(&format!("{name}.gguf"));
        let kept = ModelConfig { quantize: Quantize::Keep, ..config(&path) };
        let kept = Trainer::new(Model::load(&kept).unwrap(), &LoraConfig::default(), 0, 1).unwrap();
        let (plain, tokens) = (trainer(&path), ids(&golden(name)["tokens"]));
        let sequences = [Sequence { tokens: tokens.clone(), goal: Goal::From(0), image: None }];
        // Away from the start, so that no gradient is zero.
        let weights: Vec<f32> = (0..plain.start().0.len()).map(|at| (at as f32 * 0.7).sin() / 50.0).collect();
        for (kept, plain) in [
            (kept.logits(Some(&weights), &tokens).unwrap(), plain.logits(Some(&weights), &tokens).unwrap()),
            (change(&kept, &weights, &sequences), change(&plain, &weights, &sequences)),
        ] {
            let largest = plain.iter().fold(0.0, |largest: f32, value| largest.max(value.abs()));
            let far = kept.iter().zip(&plain).map(|(kept, plain)| (kept - plain).abs()).fold(0.0, f32::max);
            assert!(far <= 1e-5 * largest, "{name}: {far} of {largest}");
        }
        assert_eq!(kept.model().parameters(), plain.model().parameters());
        assert_eq!(kept.model().fingerprint(), plain.model().fingerprint());
    }
}

/// The first tokens after a prompt, the most likely each time.
fn greedy(trainer: &Trainer, weights: &[f32], prompt: &[u32], threads: usize) -> Vec<u32> {
    let how = Generation { max_tokens: 12, temperature: 0.0, top_p: 1.0, seed: 0, ends: Vec::new(), threads };
    let mut tokens = Vec::new();
    let receive = |token| {
        tokens.push(token);
        true
    };
    trainer.generate(Some(weights), prompt, &how, receive).unwrap();
    tokens
}

#[test]
fn a_text_does_not_depend_on_threads_nor_on_kept_blocks() {
    for name in MODELS {
        let path = fixture(&format!("{name}.gguf"));
        let kept = ModelConfig { quantize: Quantize::Keep, ..config(&path) };
        let kept = Trainer::new(Model::load(&kept).unwrap(), &LoraConfig::default(), 0, 1).unwrap();
        let (plain, tokens) = (trainer(&path), ids(&golden(name)["tokens"]));
        let weights: Vec<f32> = (0..plain.start().0.len()).map(|at| (at as f32 * 0.7).sin() / 50.0).collect();
        // A prompt of few rows and one of many.
        for prompt in [&tokens[..2], &tokens[..]] {
            let expected = greedy(&plain, &weights, prompt, 1);
            assert_eq!(greedy(&plain, &weights, prompt, 2), expected, "{name}");
            assert_eq!(greedy(&kept, &weights, prompt, 1), expected, "{name}");
            assert_eq!(greedy(&kept, &weights, prompt, 2), expected, "{name}");
        }
    }
}

#[test]
fn only_a_gguf_file_has_blocks_to_keep() {
    let config = ModelConfig { quantize: Quantize::Keep, device: "cpu".into(), ..ModelConfig::default() };
    let error = Model::load(&config).unwrap_err().to_string();
    assert!(
        error.starts_with("model.quantize is keep, but must be none or int8 where model.path is no GGUF"),
        "{error}"
    );
}

/// The error of a file with these bytes, without its folder.
fn refused(bytes: &[u8]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.gguf");
    std::fs::write(&path, bytes).unwrap();
    let error = Model::load(&config(&path)).unwrap_err().to_string();
    error.replace(&format!("{}/", dir.path().display()), "")
}

fn llama() -> Vec<u8> {
    std::fs::read(fixture("llama.gguf")).unwrap()
}

/// The index behind the first of these bytes.
fn behind(bytes: &[u8], word: &str) -> usize {
    bytes.windows(word.len()).position(|found| found == word.as_bytes()).unwrap() + word.len()
}

/// The file with other bytes `more` places behind a word.
fn patched(word: &str, more: usize, with: &[u8]) -> Vec<u8> {
    let mut bytes = llama();
    let at = behind(&bytes, word) + more;
    bytes[at..at + with.len()].copy_from_slice(with);
    bytes
}

#[test]
fn what_is_wrong_with_a_file_is_named() {
    let start = "model file x.gguf: ";
    let error = |bytes: Vec<u8>| {
        let error = refused(&bytes);
        error.strip_prefix(start).unwrap_or_else(|| panic!("{error}")).to_owned()
    };
    let counted = |at: usize, count: u64| {
        let mut bytes = llama();
        bytes[at..at + 8].copy_from_slice(&count.to_le_bytes());
        bytes
    };
    assert_eq!(error(b"GGML".to_vec()), "it does not begin with GGUF");
    assert_eq!(error(b"GGUF\x01\0\0\0".to_vec()), "its version is 1, but only 2 and 3 are read");
    assert_eq!(error(b"GGUF\0\0\0\x03".to_vec()), "it is big-endian, but only little is read");
    // Counts and lengths that no file has: the numbers of tensors and keys, the length of the first key.
    assert!(error(counted(8, u64::MAX)).contains("of 18446744073709551615"), "{}", error(counted(8, u64::MAX)));
    assert!(error(counted(16, 1 << 40)).starts_with("key "));
    assert!(error(counted(24, u64::MAX)).starts_with("key 0 of "));
    // A value's type lies behind its key, its value behind that.
    let of = |key: &str, value: &[u8]| error(patched(key, 4, value));
    assert_eq!(
        of("general.architecture", b"\x05\0\0\0\0\0\0\0gemma"),
        "key general.architecture is gemma, but only llama, mistral, qwen2, qwen3 are supported"
    );
    assert_eq!(
        of("tokenizer.ggml.model", b"\x04\0\0\0\0\0\0\0bert"),
        "key tokenizer.ggml.model is bert, but only gpt2 or llama is supported"
    );
    assert!(
        of("tokenizer.ggml.pre", b"\x09\0\0\0\0\0\0\0llama-xyz")
            .starts_with("key tokenizer.ggml.pre is llama-xyz, but only default, gpt-2")
    );
    assert!(of("llama.vocab_size", &7u32.to_le_bytes()).starts_with("key llama.vocab_size is 7, but only "));
    assert_eq!(
        of("tokenizer.ggml.eos_token_id", &70_000u32.to_le_bytes()),
        "key tokenizer.ggml.eos_token_id is 70000, but only a number below 284 is supported"
    );
    assert_eq!(
        of("llama.rope.dimension_count", &6u32.to_le_bytes()),
        "key llama.rope.dimension_count is 6, but only the size of a head, 8, is supported"
    );
    assert_eq!(
        of("llama.block_count", &9000u32.to_le_bytes()),
        "key llama.block_count is 9000, but the file has 21 tensors"
    );
    assert_eq!(of("llama.block_count", &3u32.to_le_bytes()), "tensor blk.2.attn_k.weight is missing");
    assert!(of("llama.block_count", &1u32.to_le_bytes()).starts_with("tensor blk.1."));
    assert!(
        of("llama.feed_forward_length", &32u32.to_le_bytes())
            .contains("has the shape [64, 32], but the keys of llama make it [32, 32]")
    );
    assert_eq!(
        of("tokenizer.ggml.tokens", &9u32.to_le_bytes()),
        "key tokenizer.ggml.tokens is a list of lists, but only lists of values are read"
    );
    // Behind a tensor's name: the number of its dimensions, these, its type, its offset.
    let tensor = |at: usize, value: &[u8]| error(patched("blk.0.ffn_up.weight", at, value));
    assert!(tensor(0, &9u32.to_le_bytes()).starts_with("tensor blk.0.ffn_up.weight has 9 dimensions"));
    assert!(
        tensor(4, &u64::MAX.to_le_bytes()).starts_with("tensor blk.0.ffn_up.weight has rows of 18446744073709551615")
    );
    assert!(tensor(4, &(1u64 << 60).to_le_bytes()).contains("which no file can hold"));
    assert!(
        tensor(20, &20u32.to_le_bytes())
            .starts_with("tensor blk.0.ffn_up.weight has the type IQ4_NL, but only F32, F16")
    );
    assert!(
        tensor(20, &99u32.to_le_bytes()).starts_with("tensor blk.0.ffn_up.weight has the type 99, but only F32, F16")
    );
    assert!(tensor(24, &7u64.to_le_bytes()).contains("is at offset 7 of the data, which is no multiple of 32"));
    assert!(tensor(24, &(1u64 << 62).to_le_bytes()).ends_with("it is cut off, or lies"));
    let heads = refused(&patched("llama.attention.head_count", 4, &3u32.to_le_bytes()));
    assert!(heads.contains("num_key_value_heads") || heads.contains("llama.attention."), "{heads}");
}

#[test]
fn a_file_that_is_cut_off_anywhere_is_refused() {
    let bytes = llama();
    for left in (0..bytes.len()).step_by(211) {
        assert!(refused(&bytes[..left]).starts_with("model file x.gguf: "), "{left}");
    }
}

#[test]
fn a_folder_that_was_merged_from_a_gguf_file_computes_the_same() {
    let path = fixture("llama-biases.gguf");
    let (trainer, to) = (trainer(&path), tempfile::tempdir().unwrap());
    trainer.write_merged(&config(&path), trainer.start(), &[], to.path()).unwrap();
    let merged = Trainer::new(Model::load(&config(to.path())).unwrap(), &LoraConfig::default(), 0, 1).unwrap();
    let tokens = ids(&golden("llama-biases")["tokens"]);
    assert_eq!(merged.logits(None, &tokens).unwrap(), trainer.logits(None, &tokens).unwrap());
    assert_eq!(
        merged.model().tokenizer().encode(" hello</s>").unwrap(),
        trainer.model().tokenizer().encode(" hello</s>").unwrap()
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn bytes_that_were_changed_never_panic(changes in prop::collection::vec((0usize..14_000, any::<u8>()), 1..4)) {
        let mut bytes = llama();
        for (at, with) in changes {
            bytes[at] = with;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.gguf");
        std::fs::write(&path, bytes).unwrap();
        if let Ok(model) = Model::load(&config(&path)) {
            let _ = model.tokenizer().encode("hello <s>1234</s>");
        }
    }
}
