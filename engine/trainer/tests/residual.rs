//! What the trainer promises about residuals: exact sums, gradients through them, never trained, kept beside the pairs.

use super::*;
use crate::adapter::{AdapterWeights, peft};

fn with_residual() -> LoraConfig {
    LoraConfig { rank: 2, residual: true, ..LoraConfig::default() }
}

/// Weights of [`with_residual`] whose pairs are `pairs` and whose residuals are `scale B A` of these.
fn merged(trainer: &Trainer, pairs: &[f32]) -> Vec<f32> {
    let tensors = trainer.layout().tensors();
    let of = |name: &str, values: &[f32]| -> Vec<f32> {
        let tensor = tensors.iter().find(|tensor| tensor.spec.name == name).unwrap();
        values[tensor.offset..tensor.offset + tensor.len].to_vec()
    };
    let mut weights = pairs.to_vec();
    for tensor in tensors.iter().filter(|tensor| tensor.spec.is_residual()) {
        let layer = tensor.spec.name.strip_suffix(".residual.weight").unwrap();
        let [a, b] = ["lora_A", "lora_B"].map(|part| of(&format!("{layer}.{part}.weight"), pairs));
        let (inputs, rank) = (tensor.spec.shape[1], a.len() / tensor.spec.shape[1]);
        let scale = tensors[0].spec.scale;
        for (number, value) in weights[tensor.offset..tensor.offset + tensor.len].iter_mut().enumerate() {
            let (row, column) = (number / inputs, number % inputs);
            let product = |at: usize| b[row * rank + at] * a[at * inputs + column];
            *value = scale * (0..rank).map(product).sum::<f32>();
        }
    }
    weights
}

#[test]
fn a_residual_that_is_the_pair_product_has_the_loss_of_the_pair() {
    let (trainer, sequences) = (trainer(&with_residual()), sequences());
    let (pairs, start) = (anywhere(&trainer), trainer.start().0.clone());
    let mut residual = merged(&trainer, &pairs);
    residual[..trainer.layout().trained()].copy_from_slice(&start[..trainer.layout().trained()]);
    let [base, pair, residual] =
        [&start, &pairs, &residual].map(|weights| loss(&trainer, weights, &sequences, 5).loss());
    assert!((pair - residual).abs() < 1e-5 * pair, "{pair} is not {residual}");
    assert!((pair - base).abs() > 1e-3, "the pair does nothing: {pair} is {base}");
}

#[test]
fn the_gradient_of_the_pairs_agrees_with_finite_differences_under_residuals() {
    let trainer = trainer(&with_residual());
    let weights = merged(&trainer, &anywhere(&trainer));
    assert!(weights[trainer.layout().trained()..].iter().all(|value| *value != 0.0));
    check_gradient(&trainer, &weights, &sequences());
}

#[test]
fn residuals_are_never_trained_and_zero_ones_change_nothing() {
    let (with, without) = (trainer(&with_residual()), trainer(&LoraConfig { residual: false, ..with_residual() }));
    let local = LocalConfig { steps: 3, optimizer: OptimizerKind::Adamw, weight_decay: 0.1, ..LocalConfig::default() };
    let [with_zero, plain] = [&with, &without].map(|trainer| train(trainer, &local).unwrap());
    let trained = with.layout().trained();
    assert_eq!(with_zero.delta.0[..trained], plain.delta.0);
    assert_eq!(with_zero.loss, plain.loss);
    let start = merged(&with, &anywhere(&with));
    let all: Vec<u32> = (0..start.len() as u32).collect();
    let run = |at: Option<&[u32]>| with.train(&start, &sequences(), &local, KEY, &AtomicBool::new(false), at).unwrap();
    let moved = run(None).delta.0;
    assert!(moved[..trained].iter().filter(|change| **change != 0.0).count() > trained * 9 / 10);
    assert!(moved[trained..].iter().all(|change| *change == 0.0));
    assert_eq!(run(Some(&all)).delta.0, moved);
}

#[test]
fn residuals_go_out_beside_the_pairs_and_come_back_with_them() {
    let (dir, lora) = (tempfile::tempdir().unwrap(), with_residual());
    let first = trainer(&lora);
    let weights = AdapterWeights(merged(&first, &anywhere(&first)).into());
    peft::write(dir.path(), first.layout(), &weights, &MODEL.peft(&lora, first.layout(), &[])).unwrap();
    let again = |residual| {
        let lora = LoraConfig { init: Some(dir.path().into()), residual, ..with_residual() };
        Trainer::new(MODEL.clone(), &lora, 0, 2)
            .map(|trainer| trainer.start().clone())
            .map_err(|error| error.to_string())
    };
    assert_eq!(again(true).unwrap(), weights);
    let error = again(false).unwrap_err();
    assert!(error.ends_with("it has residuals, but the run has none: set lora.residual = true"), "{error}");
    std::fs::remove_file(dir.path().join("residual.safetensors")).unwrap();
    assert!(again(true).unwrap_err().contains("residual.safetensors"));
}

#[test]
fn a_plain_adapter_is_a_start_whose_residuals_are_zero() {
    let (dir, lora) = (tempfile::tempdir().unwrap(), LoraConfig { residual: false, ..with_residual() });
    let plain = trainer(&lora);
    let weights = anywhere(&plain);
    peft::write(
        dir.path(),
        plain.layout(),
        &AdapterWeights(weights.clone().into()),
        &MODEL.peft(&lora, plain.layout(), &[]),
    )
    .unwrap();
    let start = trainer(&LoraConfig { init: Some(dir.path().into()), ..with_residual() }).start().0.clone();
    assert_eq!(start[..weights.len()], weights);
    assert!(start[weights.len()..].iter().all(|value| *value == 0.0));
}
