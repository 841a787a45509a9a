//! The whole trainer on the bundled model: golden logits, exact gradients, determinism, clear errors.

mod adapters;
mod classes;
mod encoders;
mod golden;
mod quantized;
mod residual;
mod variants;

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, LazyLock};

use super::*;
use crate::data::{Goal, Sequence};

static MODEL: LazyLock<Arc<Model>> =
    LazyLock::new(|| Model::load(&ModelConfig { device: "cpu".into(), ..ModelConfig::default() }).unwrap());

const TEXTS: [&str; 5] = [
    "O Romeo, Romeo! wherefore art thou Romeo?",
    "Deny thy father and refuse thy name;",
    "Once upon a time",
    "Or, if thou wilt not, be but sworn my love, and I'll no longer be a Capulet.",
    "What's in a name? that which we call a rose by any other name would smell as sweet;",
];

fn sequences() -> Vec<Sequence> {
    let tokens = |text: &&str| MODEL.tokenizer().encode(text).unwrap();
    TEXTS.iter().map(|text| Sequence { tokens: tokens(text), goal: Goal::From(0), image: None }).collect()
}

fn trainer(lora: &LoraConfig) -> Trainer {
    Trainer::new(MODEL.clone(), lora, 0, 1).unwrap()
}

/// Adapter values away from the start, so that no gradient is zero.
fn anywhere(trainer: &Trainer) -> Vec<f32> {
    let noise = noop_train(trainer.layout(), TrainKey { seed: 5, round: 0, client: 0 }, None).unwrap().delta.0;
    trainer.start().0.iter().zip(noise).map(|(start, noise)| start + 30.0 * noise).collect()
}

const KEY: TrainKey = TrainKey { seed: 3, round: 4, client: 5 };

fn train(trainer: &Trainer, local: &LocalConfig) -> Result<Trained, TrainerError> {
    trainer.train(&trainer.start().0, &sequences(), local, KEY, &AtomicBool::new(false), None)
}

fn loss(trainer: &Trainer, weights: &[f32], sequences: &[Sequence], batch: usize) -> Evaluated {
    trainer.evaluate(weights, sequences, batch, &AtomicBool::new(false)).unwrap()
}

fn golden() -> serde_json::Value {
    serde_json::from_slice(include_bytes!("bundled/stories260k/golden.json")).unwrap()
}

fn tokens(value: &serde_json::Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|token| token.as_u64().unwrap() as u32).collect()
}

#[test]
fn logits_are_the_golden_ones() {
    let golden = golden();
    let prompt = tokens(&golden["prompt_ids"]);
    assert_eq!(MODEL.tokenizer().encode(golden["prompt"].as_str().unwrap()).unwrap(), prompt);
    let logits = trainer(&LoraConfig::default()).logits(None, &prompt).unwrap();
    let expected = golden["last_logits"].as_array().unwrap();
    let last = &logits[logits.len() - expected.len()..];
    let errors =
        last.iter().zip(expected).map(|(found, expected)| (f64::from(*found) - expected.as_f64().unwrap()).abs());
    let largest = errors.fold(0.0, f64::max);
    assert!(largest <= 1e-3, "largest error {largest}");
}

/// The prompt and the most likely tokens after it, chosen one by one.
fn continued(trainer: &Trainer, weights: Option<&[f32]>, prompt: &[u32], count: usize) -> Vec<u32> {
    let greedy = Generation { max_tokens: count, temperature: 0.0, top_p: 1.0, seed: 0, ends: Vec::new(), threads: 2 };
    let mut tokens = prompt.to_vec();
    let receive = |token| {
        tokens.push(token);
        true
    };
    assert_eq!(trainer.generate(weights, prompt, &greedy, receive).unwrap(), Ended::MaxTokens);
    tokens
}

#[test]
fn greedy_text_is_the_golden_one() {
    let golden = golden();
    let (prompt, expected) = (tokens(&golden["prompt_ids"]), tokens(&golden["greedy_ids"]));
    let trainer = trainer(&LoraConfig::default());
    let found = continued(&trainer, None, &prompt, expected.len() - prompt.len());
    assert_eq!(found, expected);
    assert_eq!(MODEL.tokenizer().decode(&found).unwrap(), golden["greedy_text"].as_str().unwrap());
}

#[test]
fn an_adapter_whose_b_is_zero_is_the_base_model() {
    let trainer = trainer(&LoraConfig::default());
    let prompt = &sequences()[0].tokens;
    let base = trainer.logits(None, prompt).unwrap();
    assert_eq!(trainer.logits(Some(&trainer.start().0), prompt).unwrap(), base);
    assert_ne!(trainer.logits(Some(&anywhere(&trainer)), prompt).unwrap(), base);
}

#[test]
fn a_batch_has_the_loss_of_its_sequences_alone() {
    let (trainer, sequences) = (trainer(&LoraConfig::default()), sequences());
    let weights = anywhere(&trainer);
    let (together, alone) = (loss(&trainer, &weights, &sequences, 5), loss(&trainer, &weights, &sequences, 1));
    assert_eq!(together.tokens, alone.tokens);
    assert_eq!(together.tokens, sequences.iter().map(|sequence| sequence.tokens.len() as u64 - 1).sum::<u64>());
    assert!((together.loss_sum - alone.loss_sum).abs() < 1e-5 * alone.loss_sum, "{together:?} {alone:?}");
}

#[test]
fn only_positions_of_the_goal_count() {
    let trainer = trainer(&LoraConfig::default());
    let whole = sequences().remove(0);
    let (count, half) = (whole.tokens.len(), whole.tokens.len() / 2);
    let first = Sequence { tokens: whole.tokens[..half].to_vec(), ..whole.clone() };
    let second = Sequence { goal: Goal::From(half), ..whole.clone() };
    let spans = Sequence { goal: Goal::Spans(vec![1..half, half..count]), ..whole.clone() };
    let [whole, first, second, spans] =
        [whole, first, second, spans].map(|one| loss(&trainer, &trainer.start().0, &[one], 1));
    assert_eq!(second.tokens, (count - half) as u64);
    assert!((whole.loss_sum - first.loss_sum - second.loss_sum).abs() < 1e-4);
    assert_eq!(spans, whole);
}

/// The gradient as one step of plain SGD with rate 1 shows it.
fn gradient(trainer: &Trainer, weights: &[f32], sequences: &[Sequence]) -> Vec<f32> {
    let local = LocalConfig {
        optimizer: OptimizerKind::Sgd,
        lr: 1.0,
        momentum: 0.0,
        max_grad_norm: 0.0,
        steps: 1,
        batch: sequences.len(),
        ..LocalConfig::default()
    };
    let trained = trainer.train(weights, sequences, &local, KEY, &AtomicBool::new(false), None).unwrap();
    trained.delta.0.iter().map(|change| -change).collect()
}

/// Compares the gradient with finite differences in the steepest value of each trained tensor, where rounding disturbs
/// them least.
fn check_gradient(trainer: &Trainer, weights: &[f32], sequences: &[Sequence]) {
    let gradient = gradient(trainer, weights, sequences);
    for tensor in trainer.layout().tensors().iter().filter(|tensor| !tensor.spec.is_residual()) {
        let places = tensor.offset..tensor.offset + tensor.len;
        let at = places.max_by(|left, right| gradient[*left].abs().total_cmp(&gradient[*right].abs())).unwrap();
        let moved = |step: f32| {
            let mut weights = weights.to_vec();
            weights[at] += step;
            loss(trainer, &weights, sequences, 5).loss()
        };
        let slope = (moved(0.001) - moved(-0.001)) / 0.002;
        let found = f64::from(gradient[at]);
        assert!((found - slope).abs() < 0.005 * slope.abs() + 2e-3, "{}: {found} is not {slope}", tensor.spec.name);
    }
}

#[test]
fn the_gradient_agrees_with_finite_differences_in_every_tensor() {
    let trainer = trainer(&LoraConfig { rank: 2, ..LoraConfig::default() });
    check_gradient(&trainer, &anywhere(&trainer), &sequences());
}

/// Compares losses and gradients of tensor operations with those of slices.
fn check_tensors(trainer: &Trainer, config: &ModelConfig, lora: &LoraConfig, weights: &[f32], sequences: &[Sequence]) {
    let place = kernel::Place { host: false, ..kernel::Place::cpu() };
    let model = Model::load_on(config, place).unwrap();
    let other = Trainer::new(model, lora, trainer.classes(), 1).unwrap();
    let run = |trainer: &Trainer| (loss(trainer, weights, sequences, 5), gradient(trainer, weights, sequences));
    let ((slices, by_slices), (tensors, by_tensors)) = (run(trainer), run(&other));
    assert_eq!((slices.tokens, slices.correct), (tensors.tokens, tensors.correct));
    assert!((slices.loss() - tensors.loss()).abs() < 1e-5 * slices.loss(), "{slices:?} is not {tensors:?}");
    let largest = by_slices.iter().zip(&by_tensors).map(|(left, right)| (left - right).abs()).fold(0.0, f32::max);
    assert!(largest < 1e-5, "a gradient differs by {largest}");
}

#[test]
fn tensor_operations_give_what_slices_give() {
    let lora = LoraConfig::default();
    let trainer = trainer(&lora);
    check_tensors(&trainer, &ModelConfig::default(), &lora, &anywhere(&trainer), &sequences());
}

#[test]
fn checkpointing_changes_no_bit() {
    for dropout in [0.0, 0.2] {
        let trainer = trainer(&LoraConfig { dropout, ..LoraConfig::default() });
        let with = |gradient_checkpointing| LocalConfig { gradient_checkpointing, steps: 4, ..LocalConfig::default() };
        assert_eq!(train(&trainer, &with(true)).unwrap(), train(&trainer, &with(false)).unwrap());
    }
}

#[test]
fn only_the_chosen_targets_move_and_the_base_never_does() {
    let before = MODEL.transformer.embedding_values();
    for target in ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"] {
        let trainer = trainer(&LoraConfig { targets: [target].into(), ..LoraConfig::default() });
        assert!(trainer.layout().tensors().iter().all(|tensor| tensor.spec.name.contains(target)));
        let trained = train(&trainer, &LocalConfig { steps: 2, ..LocalConfig::default() }).unwrap();
        assert!(trained.delta.0.iter().all(|change| change.is_finite()));
        assert!(trained.delta.0.iter().any(|change| *change != 0.0), "{target} does not move");
    }
    assert_eq!(MODEL.transformer.embedding_values(), before);
}

const OPTIMIZERS: [OptimizerKind; 3] = [OptimizerKind::Sgd, OptimizerKind::Adam, OptimizerKind::Adamw];

#[test]
fn what_is_not_trainable_keeps_its_bits_under_every_optimizer() {
    let trainer = trainer(&LoraConfig::default());
    let start = anywhere(&trainer);
    let at: Vec<u32> = (0..start.len() as u32).filter(|place| place % 7 == 3).collect();
    for optimizer in OPTIMIZERS {
        let local = LocalConfig { optimizer, steps: 3, weight_decay: 0.1, ..LocalConfig::default() };
        let never = AtomicBool::new(false);
        let trained = trainer.train(&start, &sequences(), &local, KEY, &never, Some(&at)).unwrap().delta.0;
        let (inside, outside): (Vec<u32>, Vec<u32>) = (0..start.len() as u32).partition(|place| place % 7 == 3);
        assert!(outside.iter().all(|place| trained[*place as usize] == 0.0), "{optimizer:?}");
        let moved = inside.iter().filter(|place| trained[**place as usize] != 0.0).count();
        assert!(moved > inside.len() * 9 / 10, "{optimizer:?} moves {moved} of {}", inside.len());
    }
}

#[test]
fn a_trainable_set_of_everything_is_no_set_at_all_and_an_empty_one_trains_nothing() {
    let trainer = trainer(&LoraConfig::default());
    let (local, start, never) = (LocalConfig::default(), &trainer.start().0, AtomicBool::new(false));
    let all: Vec<u32> = (0..start.len() as u32).collect();
    let trained = |at: Option<&[u32]>| trainer.train(start, &sequences(), &local, KEY, &never, at);
    assert_eq!(trained(Some(&all)).unwrap(), trained(None).unwrap());
    assert!(trained(Some(&[])).unwrap().delta.0.iter().all(|change| *change == 0.0));
    let error = trained(Some(&[3, 46_240])).unwrap_err();
    assert_eq!(error.to_string(), "trainable coordinate 46240 is not below the adapter's 46240 values");
}

#[test]
fn training_lowers_the_loss() {
    let trainer = trainer(&LoraConfig::default());
    for (optimizer, lr) in [(OptimizerKind::Sgd, 0.05), (OptimizerKind::Adam, 5e-3), (OptimizerKind::Adamw, 5e-3)] {
        let local = LocalConfig { optimizer, lr, steps: 20, ..LocalConfig::default() };
        let trained = train(&trainer, &local).unwrap();
        let end: Vec<f32> =
            trainer.start().0.iter().zip(&trained.delta.0).map(|(start, delta)| start + delta).collect();
        let (before, after) =
            (loss(&trainer, &trainer.start().0, &sequences(), 4), loss(&trainer, &end, &sequences(), 4));
        assert!(after.loss() < 0.8 * before.loss(), "{optimizer:?}: {} to {}", before.loss(), after.loss());
        assert_eq!(trained.steps, 20);
    }
}

#[test]
fn epochs_pass_over_the_shard_once_each() {
    let trained =
        train(&trainer(&LoraConfig::default()), &LocalConfig { steps: 0, epochs: 3, ..LocalConfig::default() });
    let trained = trained.unwrap();
    let tokens: u64 = sequences().iter().map(|sequence| sequence.tokens.len() as u64 - 1).sum();
    assert_eq!((trained.steps, trained.tokens), (6, 3 * tokens));
}

#[test]
fn the_same_key_gives_the_same_bits_alone_or_beside_others() {
    for dropout in [0.0, 0.1] {
        let trainer = trainer(&LoraConfig { dropout, ..LoraConfig::default() });
        let local = LocalConfig { steps: 6, ..LocalConfig::default() };
        let alone = train(&trainer, &local).unwrap();
        let beside: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..3).map(|_| scope.spawn(|| train(&trainer, &local).unwrap())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(beside.iter().all(|trained| *trained == alone));
        let other = trainer.train(
            &trainer.start().0,
            &sequences(),
            &local,
            TrainKey { client: 6, ..KEY },
            &AtomicBool::new(false),
            None,
        );
        assert_ne!(other.unwrap().delta, alone.delta);
    }
}

#[test]
fn a_loss_that_is_no_number_is_an_error() {
    let trainer = trainer(&LoraConfig::default());
    let weights = vec![f32::NAN; trainer.layout().values()];
    let cancel = AtomicBool::new(false);
    let error = trainer.train(&weights, &sequences(), &LocalConfig::default(), KEY, &cancel, None).unwrap_err();
    assert_eq!(error.to_string(), "the loss is NaN in step 0 of the local training");
    assert!(trainer.evaluate(&weights, &sequences(), 4, &cancel).is_err());
    let runaway = LocalConfig { optimizer: OptimizerKind::Sgd, lr: 1e30, max_grad_norm: 0.0, ..LocalConfig::default() };
    assert!(matches!(train(&trainer, &runaway), Err(TrainerError::NotFinite { step: 1.., .. })));
}

#[test]
fn a_cancelled_run_stops_before_its_next_step() {
    let trainer = trainer(&LoraConfig::default());
    let cancel = AtomicBool::new(true);
    let trained = trainer.train(&trainer.start().0, &sequences(), &LocalConfig::default(), KEY, &cancel, None);
    assert_eq!(trained.unwrap_err().to_string(), "cancelled in step 0");
    assert!(trainer.evaluate(&trainer.start().0, &sequences(), 4, &cancel).is_err());
}

#[test]
fn wrong_settings_and_sizes_are_refused_with_both_values() {
    let trainer = trainer(&LoraConfig::default());
    let error = train(&trainer, &LocalConfig { batch: 0, ..LocalConfig::default() }).unwrap_err();
    assert_eq!(error.to_string(), "client.batch is 0, but must be at least 1");
    let error = trainer.evaluate(&[0.0; 3], &sequences(), 4, &AtomicBool::new(false)).unwrap_err();
    assert_eq!(error.to_string(), "the adapter has 3 values, but its layout has 46240");
    let error = Trainer::new(MODEL.clone(), &LoraConfig { dropout: 1.0, ..LoraConfig::default() }, 0, 1).unwrap_err();
    assert_eq!(error.to_string(), "lora.dropout is 1, but must be in [0, 1)");
}

#[test]
fn an_adapter_goes_out_to_a_peft_folder_and_comes_back_as_a_start() {
    use crate::adapter::{AdapterWeights, peft};
    let (dir, lora) = (tempfile::tempdir().unwrap(), LoraConfig::default());
    let first = trainer(&lora);
    let weights = AdapterWeights(anywhere(&first).into());
    peft::write(dir.path(), first.layout(), &weights, &MODEL.peft_config(&lora, first.layout(), &[])).unwrap();
    let init = Some(dir.path().to_path_buf());
    let second = Trainer::new(MODEL.clone(), &LoraConfig { init: init.clone(), ..lora.clone() }, 0, 2).unwrap();
    assert_eq!(*second.start(), weights);
    let error =
        Trainer::new(MODEL.clone(), &LoraConfig { init, targets: ["q_proj"].into(), ..lora }, 0, 1).unwrap_err();
    assert!(
        error.to_string().contains("not part of the run's adapter: base_model.model.model.layers.0.mlp"),
        "{error}"
    );
}
