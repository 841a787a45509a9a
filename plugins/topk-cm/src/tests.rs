//! The values that arrive, their bits, and error feedback that brings the rest.

use cellm_plugin::harness::{Adapter, Feedback, Harness, spoiled};
use cellm_plugin::{Content, PolicyError, Vector, bad_option};

use super::*;

fn harness(adapter: &Adapter, bits: u32, density: f64) -> Harness<TopKCm> {
    let mut harness = Harness::new(adapter, bits, &[]).unwrap();
    harness.density = density;
    harness
}

#[test]
fn at_one_bit_the_largest_become_their_sign_times_their_mean_magnitude() {
    let adapter = Adapter::lora(1, &[(4, 4)]);
    let mut harness = harness(&adapter, 1, 0.5);
    let sent = harness.upload(1, 0, &[0.1, -3.0, 0.2, 2.0, -0.1, 5.0, -6.0, 0.0]).unwrap();
    assert_eq!(harness.collect(&sent).unwrap(), [0.0, -4.0, 0.0, 4.0, 0.0, 4.0, -4.0, 0.0]);
}

#[test]
fn at_two_bits_twice_the_least_is_another_level() {
    let adapter = Adapter::lora(1, &[(4, 4)]);
    let mut harness = harness(&adapter, 2, 0.5);
    let sent = harness.upload(1, 0, &[0.1, -3.0, 0.2, 2.0, -0.1, 5.0, -7.0, 0.0]).unwrap();
    assert_eq!(harness.collect(&sent).unwrap(), [0.0, -2.5, 0.0, 2.5, 0.0, 6.0, -6.0, 0.0]);
}

#[test]
fn zeros_cost_next_to_nothing_and_come_back() {
    let adapter = Adapter::lora(4, &[(60, 40)]);
    let mut harness = harness(&adapter, 1, 0.25);
    let nothing = vec![0.0; 400];
    let sent = harness.upload(1, 0, &nothing).unwrap();
    assert_eq!(harness.collect(&sent).unwrap(), nothing);
    assert!(sent.bytes < 60, "{} bytes", sent.bytes);
}

/// Normal draws, each times the size of its line of B or A: some lines change much more than others.
fn crowded(adapter: &Adapter, spread: f32) -> Vec<f32> {
    let draws = Vector::random_normal(adapter.values(), 3, 3).values();
    let line = |at: usize| (at as u64 / 8 % 61).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60;
    (0..draws.len()).map(|at| draws[at] * (spread * (line(at) as f32 - 8.0)).exp2()).collect()
}

#[test]
fn random_positions_cost_their_entropy_and_crowded_ones_much_less() {
    let adapter = Adapter::lora(8, &[(2_000, 2_000), (2_000, 2_000)]);
    for density in [1.0_f64 / 4.0, 1.0 / 16.0, 1.0 / 32.0, 1.0 / 64.0] {
        let entropy = -density * density.log2() - (1.0 - density) * (1.0 - density).log2() + density;
        let limit = entropy * f64::from(adapter.values()) / 8.0;
        let bytes =
            |spread| harness(&adapter, 1, density).upload(1, 0, &crowded(&adapter, spread)).unwrap().bytes as f64;
        let (random, crowded) = (bytes(0.0) / limit, bytes(0.4) / limit);
        assert!(random < 1.08, "{density}: {random} of the entropy");
        assert!(crowded < 0.96 * random, "{density}: {crowded} of {random}");
    }
}

#[test]
fn error_feedback_sends_everything_in_the_end() {
    let adapter = Adapter::lora(4, &[(60, 40), (30, 50)]);
    let delta = adapter.delta(2, 1.0);
    let mut harness = harness(&adapter, 2, 1.0 / 16.0);
    let mut feedback = Feedback::new(&adapter, 1.0);
    let total = Vector::new(adapter.values());
    for round in 1..=200 {
        total.axpy(1.0, &Vector::from_values(feedback.exchange(&mut harness, round, 0, &delta).unwrap().0));
    }
    total.scale(1.0 / 200.0);
    assert!(total.distance(&Vector::from_values(delta)) < 0.15);
}

#[test]
fn weights_count_from_the_start_and_differences_from_zero() {
    let adapter = Adapter::lora(4, &[(60, 40)]).with_head(3, 7);
    let weights = adapter.weights(3, 1.0);
    let unsent = |content| {
        let mut harness = harness(&adapter, 3, 0.05);
        harness.download = content;
        let sent = harness.broadcast(1, &weights).unwrap();
        let received = harness.receive(4, &sent).unwrap();
        let same = |base: &dyn Fn(usize) -> f32| (0..received.len()).filter(|at| received[*at] == base(*at)).count();
        (same(&|at| adapter.start[at]) >= 390, same(&|_| 0.0) >= 390)
    };
    assert_eq!(unsent(Content::Weights), (true, false));
    assert_eq!(unsent(Content::Difference), (false, true));
}

#[test]
fn other_bits_are_a_bad_option() {
    for bits in [8, 16, 32] {
        let refused = Harness::<TopKCm>::new(&Adapter::lora(1, &[(4, 4)]), bits, &[]).map(|_| ());
        assert_eq!(refused, Err(bad_option("bits", bits, "1, 2, 3 or 4")));
    }
}

#[test]
fn hostile_messages_are_refused_or_read_within_bounds() {
    let adapter = Adapter::lora(4, &[(60, 40)]);
    let mut harness = harness(&adapter, 2, 0.1);
    let sent = harness.upload(1, 0, &adapter.delta(1, 1.0)).unwrap();
    for bad in spoiled(&sent) {
        match harness.collect(&bad) {
            Ok(decoded) => assert!(decoded.iter().filter(|value| **value != 0.0).count() <= 40),
            Err(error) => assert!(matches!(error, PolicyError::BadMessage(_)), "{error:?}"),
        }
    }
}

#[test]
fn what_is_not_finite_is_not_encoded() {
    let adapter = Adapter::lora(1, &[(4, 4)]);
    let refused = harness(&adapter, 1, 0.5).upload(1, 0, &[f32::NAN; 8]).map(|_| ());
    assert_eq!(refused, Err(PolicyError::Other("a value to encode is not finite".into())));
}
