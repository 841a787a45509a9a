//! The mean magnitude, the bytes, and that error feedback brings the rest.

use cellm_plugin::harness::{Adapter, Feedback, Harness, spoiled};
use cellm_plugin::{Content, PolicyError, Vector, bad_option};

use super::*;

fn harness(adapter: &Adapter, density: f64) -> Harness<Stc> {
    let mut harness = Harness::new(adapter, 1, &[]).unwrap();
    harness.density = density;
    harness
}

#[test]
fn the_largest_become_their_sign_times_their_mean_magnitude() {
    let adapter = Adapter::lora(1, &[(4, 4)]);
    let mut harness = harness(&adapter, 0.5);
    let delta = [0.1, -3.0, 0.2, 2.0, -0.1, 5.0, -6.0, 0.0];
    let sent = harness.upload(1, 0, &delta).unwrap();
    assert_eq!(harness.collect(&sent).unwrap(), [0.0, -4.0, 0.0, 4.0, 0.0, 4.0, -4.0, 0.0]);
}

#[test]
fn a_message_costs_its_gaps_one_bit_each_and_one_float() {
    let adapter = Adapter::lora(16, &[(20_000, 5_000), (20_000, 5_000)]);
    let draws = Vector::random_normal(adapter.values(), 3, 3).values();
    // Reduction against f32 that random coordinates allow at 1 bit.
    for (denominator, known) in [(4.0, 30.0), (16.0, 79.0), (32.0, 136.0), (64.0, 240.0)] {
        let sent = harness(&adapter, 1.0 / denominator).upload(1, 0, &draws).unwrap();
        let reduction = f64::from(adapter.values()) * 4.0 / sent.bytes as f64;
        assert!((reduction / known - 1.0).abs() < 0.05, "1/{denominator}: {reduction}, {known} known");
    }
}

#[test]
fn error_feedback_sends_everything_in_the_end() {
    let adapter = Adapter::lora(4, &[(60, 40), (30, 50)]);
    let delta = adapter.delta(2, 1.0);
    let mut harness = harness(&adapter, 1.0 / 16.0);
    let mut feedback = Feedback::new(&adapter, 1.0);
    let total = Vector::new(adapter.values());
    for round in 1..=200 {
        total.axpy(1.0, &Vector::from_values(feedback.exchange(&mut harness, round, 0, &delta).unwrap().0));
    }
    total.scale(1.0 / 200.0);
    assert!(total.distance(&Vector::from_values(delta)) < 0.15);
}

#[test]
fn weights_count_from_the_start_or_from_zero_and_differences_from_zero() {
    let adapter = Adapter::lora(4, &[(60, 40)]);
    let weights = adapter.weights(3, 1.0);
    let base_of_unsent = |reference: &str, content| {
        let mut harness = Harness::<Stc>::new(&adapter, 1, &[("reference", reference.into())]).unwrap();
        (harness.density, harness.download) = (0.05, content);
        let sent = harness.broadcast(1, &weights).unwrap();
        let received = harness.receive(4, &sent).unwrap();
        let same =
            |base: &dyn Fn(usize) -> f32| received.iter().enumerate().filter(|(i, value)| **value == base(*i)).count();
        (same(&|i| adapter.start[i]) >= 380, same(&|_| 0.0) >= 380)
    };
    assert_eq!(base_of_unsent("seeded", Content::Weights), (true, false));
    assert_eq!(base_of_unsent("zero", Content::Weights), (false, true));
    assert_eq!(base_of_unsent("seeded", Content::Difference), (false, true));
}

#[test]
fn other_bits_are_a_bad_option() {
    for bits in [2, 16, 32] {
        let refused = Harness::<Stc>::new(&Adapter::lora(1, &[(4, 4)]), bits, &[]).map(|_| ());
        assert_eq!(refused, Err(bad_option("bits", bits, "1")));
    }
}

#[test]
fn hostile_messages_are_refused() {
    let adapter = Adapter::lora(4, &[(60, 40)]);
    let mut harness = harness(&adapter, 0.1);
    let sent = harness.upload(1, 0, &adapter.delta(1, 1.0)).unwrap();
    for bad in spoiled(&sent) {
        assert!(matches!(harness.collect(&bad), Err(PolicyError::BadMessage(_))));
    }
    assert!(harness.collect(&sent).is_ok());
}
