//! The engine beside `transformers` and `peft`: tiny models of every family, made by tests/golden/make.py.

use std::path::PathBuf;

use serde_json::Value;

use super::*;
use crate::adapter::{Role, peft};
use crate::data::{Goal, Image};

const MODELS: [&str; 12] = [
    "llama3",
    "llama-linear",
    "mistral",
    "qwen2",
    "qwen3",
    "gpt2",
    "llama-classes",
    "gpt2-classes",
    "vit",
    ENCODERS[0],
    ENCODERS[1],
    ENCODERS[2],
];

const ENCODERS: [&str; 3] = ["bert-classes", "distilbert-classes", "roberta-classes"];

/// A model, its golden values, and the trainer of its adapter.
struct Golden {
    name: &'static str,
    json: Value,
    sequence: Sequence,
    config: ModelConfig,
    lora: LoraConfig,
    trainer: Trainer,
}

impl Golden {
    fn read(name: &'static str) -> Self {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/golden").join(name);
        let json: Value = serde_json::from_slice(&std::fs::read(folder.join("golden.json")).unwrap()).unwrap();
        let config = ModelConfig { path: Some(folder.clone()), device: "cpu".into(), ..ModelConfig::default() };
        let adapter = peft::read_config(&folder.join("adapter")).unwrap();
        let lora = LoraConfig {
            rank: adapter.rank,
            alpha: adapter.alpha,
            targets: adapter.targets,
            init: Some(folder.join("adapter")),
            ..LoraConfig::default()
        };
        let classes = json["classes"].as_u64().unwrap() as usize;
        let goal = json["class"].as_u64().map_or(Goal::From(0), |class| Goal::Class(class as u32));
        let sequence = Sequence { tokens: tokens(&json["tokens"]), goal, image: picture(&json["picture"]) };
        let trainer = Trainer::new(Model::load(&config).unwrap(), &lora, classes, 1).unwrap();
        Self { name, json, sequence, config, lora, trainer }
    }

    /// The logits of all positions, or of the class.
    fn logits(&self, trainer: &Trainer, weights: Option<&[f32]>) -> Vec<f32> {
        match self.sequence.goal {
            Goal::Class(_) => trainer.predictions(weights, &self.sequence).unwrap(),
            _ => trainer.logits(weights, &self.sequence.tokens).unwrap(),
        }
    }

    /// The sequence, and a shorter one where it is not a picture.
    fn sequences(&self) -> [Sequence; 2] {
        let tokens = self.sequence.tokens.get(3..).unwrap_or_default().to_vec();
        [self.sequence.clone(), Sequence { tokens, ..self.sequence.clone() }]
    }

    /// The largest error of the logits in the rows that golden.json has.
    fn error(&self, found: &[f32], part: &str) -> f64 {
        let expected: Vec<f64> = floats(&self.json[part]["logits"]);
        let rows = self.json["rows"].as_array().unwrap();
        let width = expected.len() / rows.len();
        let found = rows.iter().flat_map(|row| &found[row.as_u64().unwrap() as usize * width..][..width]);
        let errors = found.zip(&expected).map(|(found, expected)| (f64::from(*found) - expected).abs());
        errors.fold(0.0, f64::max)
    }
}

/// Channels, height, width and pixels.
pub(super) fn picture(value: &Value) -> Option<Arc<Image>> {
    let [channels, height, width] =
        ["channels", "height", "width"].map(|key| value[key].as_u64().unwrap_or(0) as usize);
    let pixels = value["pixels"].as_array()?;
    let values = pixels.iter().map(|pixel| pixel.as_u64().unwrap() as u8).collect();
    Some(Arc::new(Image { channels, height, width, values }))
}

#[test]
fn pictures_are_resized_and_normalized_as_transformers_does() {
    let golden = Golden::read("vit");
    let mut found = Vec::new();
    let resized = &golden.json["resized"];
    golden.trainer.model().preprocessor().unwrap().append(&picture(&resized["picture"]).unwrap(), &mut found);
    let expected = floats(&resized["patches"]);
    assert_eq!(found.len(), expected.len());
    // A pixel may be rounded the other way: a 255th of the range from -1 to 1.
    let far = found.iter().zip(&expected).map(|(found, expected)| (f64::from(*found) - expected).abs());
    let (largest, differ) = far.fold((0.0f64, 0), |(most, count), far| (most.max(far), count + i32::from(far > 1e-5)));
    assert!(largest < 2.01 / 255.0 && differ * 20 < found.len() as i32, "{differ} differ, by up to {largest}");
}

fn floats(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
}

#[test]
fn the_logits_of_every_family_are_those_of_transformers() {
    for golden in MODELS.map(Golden::read) {
        let plain = LoraConfig { init: None, ..golden.lora.clone() };
        let base = Trainer::new(golden.trainer.model().clone(), &plain, golden.trainer.classes(), 1).unwrap();
        let error = golden.error(&golden.logits(&base, None), "base");
        assert!(error <= 1e-4, "{}: largest error {error}", golden.name);
    }
}

#[test]
fn positions_read_one_by_one_give_the_logits_of_all_read_together() {
    for golden in MODELS.map(Golden::read).iter().filter(|golden| golden.trainer.classes() == 0) {
        let (weights, tokens) = (&golden.trainer.start().0, &golden.sequence.tokens);
        let whole = golden.trainer.logits(Some(weights), tokens).unwrap();
        let width = whole.len() / tokens.len();
        for place in [kernel::Place::cpu(), kernel::Place { host: false, ..kernel::Place::cpu() }] {
            let model = Model::load_on(&golden.config, place).unwrap();
            let trainer = Trainer::new(model, &golden.lora, 0, 1).unwrap();
            let adapted = trainer.adapter_or_base(Some(weights)).unwrap();
            let mut cache = transformer::Cache::default();
            let alone = std::thread::scope(|scope| team::Team::start(scope, 1));
            let mut read = 0;
            // More at once at first, and once in between, too.
            for count in [5, 1, 1, 4].into_iter().chain(std::iter::repeat_n(1, tokens.len() - 11)) {
                let new = &tokens[read..read + count];
                let found =
                    values::values(trainer.model().transformer.extend(new, &adapted, &mut cache, &alone)).unwrap();
                read += count;
                for (found, expected) in found.iter().zip(&whole[(read - 1) * width..read * width]) {
                    assert!((found - expected).abs() < 1e-4, "{} {read}: {found} is not {expected}", golden.name);
                }
            }
        }
    }
}

#[test]
fn a_text_ends_at_its_end_token_its_most_tokens_or_the_last_position_and_pictures_have_none() {
    let golden = Golden::read("gpt2");
    let positions = golden.trainer.model().max_positions();
    let prompt = vec![3; positions - 2];
    let mut how = Generation { max_tokens: 9, temperature: 0.0, top_p: 1.0, seed: 1, ends: Vec::new(), threads: 1 };
    let generated = |how: &Generation| {
        let mut tokens = Vec::new();
        let receive = |token| {
            tokens.push(token);
            true
        };
        (golden.trainer.generate(None, &prompt, how, receive).unwrap(), tokens)
    };
    let (ended, tokens) = generated(&how);
    assert_eq!((ended, tokens.len()), (Ended::Positions, 3));
    how.max_tokens = 2;
    assert_eq!(generated(&how), (Ended::MaxTokens, tokens[..2].to_vec()));
    how.ends = vec![tokens[0]];
    assert_eq!(generated(&how), (Ended::Token, Vec::new()));
    how.top_p = 0.0;
    let refused = |trainer: &Trainer| trainer.generate(None, &[3], &how, |_| true).unwrap_err().to_string();
    assert_eq!(refused(&golden.trainer), "top-p is 0, but must be above 0 and at most 1");
    let error = refused(&Golden::read("gpt2-classes").trainer);
    assert_eq!(error, "no text can be generated: the adapter tells 3 classes apart and predicts no next token");
    let error = refused(&Golden::read("vit").trainer);
    assert!(error.starts_with("no text can be generated: "), "{error}");
}

#[test]
fn the_logits_and_the_loss_of_every_adapter_are_those_of_peft() {
    for golden in MODELS.map(Golden::read) {
        let (weights, sequence) = (&golden.trainer.start().0, &golden.sequence);
        let error = golden.error(&golden.logits(&golden.trainer, Some(weights)), "adapter");
        assert!(error <= 1e-4, "{}: largest error {error}", golden.name);
        let found = loss(&golden.trainer, weights, std::slice::from_ref(sequence), 1).loss();
        let expected = golden.json["adapter"]["loss"].as_f64().unwrap();
        assert!((found - expected).abs() < 1e-4, "{}: {found} is not {expected}", golden.name);
    }
}

#[test]
fn sequences_of_several_lengths_side_by_side_do_not_see_each_other_or_their_padding() {
    for golden in ENCODERS.map(Golden::read) {
        let batch = &golden.json["batch"];
        let classes = tokens(&batch["classes"]);
        let rows = batch["sequences"].as_array().unwrap().iter().map(tokens).zip(classes);
        let sequences: Vec<Sequence> =
            rows.map(|(tokens, class)| Sequence { tokens, goal: Goal::Class(class), image: None }).collect();
        for host in [true, false] {
            let model = Model::load_on(&golden.config, kernel::Place { host, ..kernel::Place::cpu() }).unwrap();
            let trainer = Trainer::new(model, &golden.lora, golden.trainer.classes(), 1).unwrap();
            let weights = &trainer.start().0;
            let found = loss(&trainer, weights, &sequences, sequences.len()).loss();
            let expected = batch["loss"].as_f64().unwrap();
            assert!((found - expected).abs() < 1e-4, "{}: {found} is not {expected}", golden.name);
            let logits = sequences.iter().flat_map(|one| trainer.predictions(Some(weights), one).unwrap());
            for (found, expected) in logits.zip(floats(&batch["logits"])) {
                let error = (f64::from(found) - expected).abs();
                assert!(error < 1e-4, "{}: {found} is not {expected}", golden.name);
            }
        }
    }
}

#[test]
fn the_gradient_of_every_adapter_is_that_of_peft() {
    for golden in MODELS.map(Golden::read) {
        let weights = &golden.trainer.start().0;
        let found = gradient(&golden.trainer, weights, std::slice::from_ref(&golden.sequence));
        let expected = golden.json["adapter"]["gradients"].as_object().unwrap();
        assert_eq!(expected.len(), golden.trainer.layout().tensors().len(), "{}", golden.name);
        for tensor in golden.trainer.layout().tensors() {
            let name = &tensor.spec.name;
            let expected = floats(&expected[name]);
            let largest = expected.iter().map(|value| value.abs()).fold(0.0, f64::max);
            for (found, expected) in found[tensor.offset..tensor.offset + tensor.len].iter().zip(expected) {
                let error = (f64::from(*found) - expected).abs();
                assert!(error < 1e-3 * largest, "{} {name}: {found} is not {expected}", golden.name);
            }
        }
    }
}

#[test]
fn the_gradient_of_every_family_agrees_with_finite_differences() {
    for golden in MODELS.map(Golden::read) {
        check_gradient(&golden.trainer, &golden.trainer.start().0, &golden.sequences());
    }
}

#[test]
fn tensor_operations_give_what_slices_give_in_every_family() {
    for golden in MODELS.map(Golden::read) {
        let weights = &golden.trainer.start().0;
        check_tensors(&golden.trainer, &golden.config, &golden.lora, weights, &golden.sequences());
    }
}

#[test]
fn without_targets_every_linear_layer_of_every_family_has_a_pair_and_the_folder_names_them() {
    for golden in MODELS.map(Golden::read) {
        let (model, classes) = (golden.trainer.model(), golden.trainer.classes());
        let default = Trainer::new(model.clone(), &LoraConfig::default(), classes, 1).unwrap();
        let spec = &model.transformer.spec;
        let pairs = default.layout().tensors().iter().filter(|tensor| tensor.spec.role == Role::LoraA).count();
        assert_eq!(pairs, spec.blocks() * spec.linears.iter().flatten().count(), "{}", golden.name);
        let dir = tempfile::tempdir().unwrap();
        let about = model.peft_config(&LoraConfig::default(), default.layout(), &[]);
        peft::write(dir.path(), default.layout(), default.start(), &about).unwrap();
        let names = peft::read_config(dir.path()).unwrap().targets;
        assert!(matches!(&names, peft::Targets::Names(names) if !names.is_empty()), "{}: {names}", golden.name);
        let lora = LoraConfig { targets: names, init: Some(dir.path().into()), ..LoraConfig::default() };
        let again = Trainer::new(model.clone(), &lora, classes, 2).unwrap();
        assert_eq!(again.start(), default.start(), "{}", golden.name);
    }
}

#[test]
fn the_right_choices_are_counted() {
    for golden in MODELS.map(Golden::read) {
        let (weights, sequence) = (&golden.trainer.start().0, &golden.sequence);
        let logits = golden.logits(&golden.trainer, Some(weights));
        let width = golden.trainer.classes().max(logits.len() / sequence.tokens.len().max(1));
        let best = |row: &[f32]| (0..row.len()).fold(0, |best, at| if row[at] > row[best] { at } else { best });
        let chosen: Vec<u32> = logits.chunks(width).map(|row| best(row) as u32).collect();
        let correct = match sequence.goal {
            Goal::Class(class) => u64::from(chosen == [class]),
            _ => chosen.iter().zip(&sequence.tokens[1..]).filter(|(chosen, token)| chosen == token).count() as u64,
        };
        let wholly_right = Sequence { goal: Goal::Class(chosen[0]), ..sequence.clone() };
        assert_eq!(
            loss(&golden.trainer, weights, std::slice::from_ref(sequence), 1).correct,
            correct,
            "{}",
            golden.name
        );
        if golden.trainer.classes() > 0 {
            assert_eq!(loss(&golden.trainer, weights, &[wholly_right], 1).correct, 1, "{}", golden.name);
        }
    }
}

/// Names, shapes and bytes of the tensors of a PEFT folder.
fn stored(folder: &std::path::Path) -> Vec<(String, Vec<usize>, Vec<u8>)> {
    let bytes = std::fs::read(folder.join("adapter_model.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap().tensors();
    let mut all: Vec<_> =
        tensors.into_iter().map(|(name, view)| (name, view.shape().to_vec(), view.data().to_vec())).collect();
    all.sort();
    all
}

#[test]
fn the_adapter_that_peft_wrote_is_written_again_bit_for_bit_in_every_family() {
    for golden in MODELS.map(Golden::read) {
        let (trainer, dir) = (&golden.trainer, tempfile::tempdir().unwrap());
        let about = trainer.model().peft_config(&golden.lora, trainer.layout(), &[]);
        peft::write(dir.path(), trainer.layout(), trainer.start(), &about).unwrap();
        // This ViT's adapter has the names of its checkpoint; what is written has the names of memory.
        if golden.name != "vit" {
            let theirs = stored(golden.lora.init.as_ref().unwrap());
            assert!(stored(dir.path()) == theirs, "{}: another file than PEFT's", golden.name);
        }
        let again = LoraConfig { init: Some(dir.path().into()), ..golden.lora.clone() };
        let again = Trainer::new(trainer.model().clone(), &again, trainer.classes(), 2).unwrap();
        assert_eq!(again.start(), trainer.start(), "{}", golden.name);
    }
}

#[test]
fn half_the_bits_give_nearly_the_same_in_every_family() {
    for golden in MODELS.map(Golden::read) {
        let place = kernel::Place { host: false, dtype: burn::tensor::DType::BF16, ..kernel::Place::cpu() };
        let model = Model::load_on(&golden.config, place).unwrap();
        let half = Trainer::new(model, &golden.lora, golden.trainer.classes(), 1).unwrap();
        let (weights, sequences) = (&golden.trainer.start().0, golden.sequences());
        let [whole_loss, half_loss] = [&golden.trainer, &half].map(|one| loss(one, weights, &sequences, 5).loss());
        assert!((whole_loss - half_loss).abs() < 0.01 * whole_loss, "{}: {half_loss} is not {whole_loss}", golden.name);
        let [of_whole, of_half] = [&golden.trainer, &half].map(|one| gradient(one, weights, &sequences));
        let norm = |values: &[f32]| values.iter().map(|value| value * value).sum::<f32>().sqrt();
        let difference: Vec<f32> = of_whole.iter().zip(&of_half).map(|(whole, half)| whole - half).collect();
        let far = norm(&difference) / norm(&of_whole);
        assert!(far > 0.0 && far < 0.1, "{}: the gradient differs by {far}", golden.name);
    }
}
