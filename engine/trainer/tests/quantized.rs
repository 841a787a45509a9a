//! What a base in 8 bits promises: nearly the same losses, exact gradients of what is trained, training that learns.

use super::*;

fn in_eight_bits(lora: &LoraConfig) -> Trainer {
    let config = ModelConfig { quantize: Quantize::Int8, device: "cpu".into(), ..ModelConfig::default() };
    Trainer::new(Model::load(&config).unwrap(), lora, 0, 1).unwrap()
}

#[test]
fn a_base_in_eight_bits_has_nearly_the_loss_of_the_whole_one() {
    let (whole, eight) = (trainer(&LoraConfig::default()), in_eight_bits(&LoraConfig::default()));
    assert_eq!(whole.model().parameters(), eight.model().parameters());
    for weights in [whole.start().0.to_vec(), anywhere(&whole)] {
        let [whole, eight] = [&whole, &eight].map(|trainer| loss(trainer, &weights, &sequences(), 4).loss());
        assert!(whole != eight && (whole - eight).abs() < 0.01 * whole, "{whole} and {eight}");
    }
}

#[test]
fn the_gradient_through_a_base_in_eight_bits_agrees_with_finite_differences() {
    for lora in [
        LoraConfig { rank: 2, ..LoraConfig::default() },
        LoraConfig { residual: true, rank: 2, ..LoraConfig::default() },
    ] {
        let trainer = in_eight_bits(&lora);
        check_gradient(&trainer, &anywhere(&trainer), &sequences());
    }
}

#[test]
fn training_on_a_base_in_eight_bits_lowers_the_loss() {
    let trainer = in_eight_bits(&LoraConfig::default());
    let trained = train(&trainer, &LocalConfig { steps: 20, ..LocalConfig::default() }).unwrap();
    let end: Vec<f32> = trainer.start().0.iter().zip(&trained.delta.0).map(|(start, delta)| start + delta).collect();
    let [before, after] = [&trainer.start().0, &end].map(|weights| loss(&trainer, weights, &sequences(), 4).loss());
    assert!(after < 0.8 * before, "{before} to {after}");
}
