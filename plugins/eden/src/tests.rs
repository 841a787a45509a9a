//! The levels, the error against the published one, unbiasedness over seeds, the bytes.

use cellm_plugin::harness::{Adapter, Harness, spoiled};
use cellm_plugin::{Content, PolicyError, Vector, bad_option};

use super::*;

/// `1 / (1 - D) - 1` with D the mean squared error of the best levels of a normal (Max 1960).
const KNOWN: [f64; 4] = [0.5708, 0.1331, 0.03578, 0.009592];

fn harness(adapter: &Adapter, bits: u32) -> Harness<Eden> {
    Harness::new(adapter, bits, &[]).unwrap()
}

/// Squared distance over squared norm.
fn error(decoded: &[f32], values: &[f32]) -> f64 {
    let values = Vector::from_values(values.to_vec());
    (values.distance(&Vector::from_values(decoded.to_vec())) / values.norm()).powi(2)
}

#[test]
fn every_level_is_the_mean_of_a_normal_between_its_neighbours() {
    for positive in CENTROIDS {
        let edge = |i: usize| match i {
            0 => 0.0,
            i if i == positive.len() => 9.0,
            i => f64::from(positive[i - 1] + positive[i]) / 2.0,
        };
        for (i, level) in positive.iter().enumerate() {
            let (from, to, steps) = (edge(i), edge(i + 1), 100_000);
            let width = (to - from) / f64::from(steps);
            let (mut mass, mut moment) = (0.0, 0.0);
            for step in 0..steps {
                let x = from + (f64::from(step) + 0.5) * width;
                mass += (-x * x / 2.0).exp();
                moment += x * (-x * x / 2.0).exp();
            }
            assert!((moment / mass - f64::from(*level)).abs() < 1e-6, "{level}: {}", moment / mass);
        }
    }
}

#[test]
fn the_error_is_the_published_one_whatever_the_values_look_like() {
    let adapter = Adapter::lora(16, &[(4000, 2000), (3000, 3000)]);
    let mut spikes = vec![0.0; adapter.start.len()];
    (0..50).for_each(|i| spikes[i * 3000] = 1.0 + i as f32);
    for (bits, known) in (1..).zip(KNOWN) {
        for values in [adapter.delta(1, 1e-3), spikes.clone()] {
            let mut harness = harness(&adapter, bits);
            let sent = harness.upload(1, 0, &values).unwrap();
            let found = error(&harness.collect(&sent).unwrap(), &values);
            assert!((found / known - 1.0).abs() < 0.05, "{bits} bits: {found}, {known} known");
        }
    }
}

#[test]
fn the_expectation_over_seeds_is_what_was_encoded() {
    const SEEDS: u32 = 400;
    // 1,100 values: a block of 1,024 and a last one of 76 values and 52 zeros.
    let adapter = Adapter::lora(2, &[(250, 300)]);
    let mut sparse = vec![0.0; adapter.start.len()];
    (sparse[3], sparse[700], sparse[1050]) = (2.0, -1.0, 1.5);
    for (bits, known) in (1..).zip(KNOWN) {
        for values in [adapter.delta(4, 1.0), sparse.clone()] {
            let (mut harness, mean) = (harness(&adapter, bits), Vector::new(adapter.values()));
            for round in 1..=SEEDS {
                let sent = harness.upload(round, 0, &values).unwrap();
                mean.axpy(1.0 / SEEDS as f32, &Vector::from_values(harness.collect(&sent).unwrap()));
            }
            let found = error(&mean.values(), &values);
            let of_unbiased = known / f64::from(SEEDS);
            assert!(found < of_unbiased * 1.3, "{bits} bits: {found}, {of_unbiased} without a bias");
        }
    }
}

#[test]
fn clients_of_a_round_draw_rotations_of_their_own() {
    let adapter = Adapter::lora(2, &[(250, 300)]);
    let (mut harness, delta) = (harness(&adapter, 1), adapter.delta(4, 1.0));
    let mut decoded = |round, client| {
        let sent = harness.upload(round, client, &delta).unwrap();
        harness.collect(&sent).unwrap()
    };
    assert_eq!(decoded(1, 1), decoded(1, 1));
    assert_ne!(decoded(1, 1), decoded(1, 2));
    assert_ne!(decoded(1, 1), decoded(2, 1));
}

#[test]
fn a_value_costs_its_bits_and_little_else() {
    let adapter = Adapter::lora(16, &[(4000, 2000), (3000, 3001)]);
    for bits in 1..=4 {
        let sent = harness(&adapter, bits).upload(1, 0, &adapter.delta(1, 1.0)).unwrap();
        let ideal = u64::from(adapter.values() * bits).div_ceil(8);
        assert!((ideal..ideal + 180).contains(&sent.bytes), "{} bytes, {ideal} ideal", sent.bytes);
    }
}

#[test]
fn weights_count_from_the_start_and_zeros_stay_zeros() {
    let adapter = Adapter::lora(4, &[(600, 400)]);
    let (weights, mut harness) = (adapter.weights(3, 1e-2), harness(&adapter, 4));
    let sent = harness.broadcast(1, &weights).unwrap();
    let received = harness.receive(2, &sent).unwrap();
    let moved: Vec<f32> = weights.iter().zip(&adapter.start).map(|(w, s)| w - s).collect();
    let got: Vec<f32> = received.iter().zip(&adapter.start).map(|(w, s)| w - s).collect();
    assert!(error(&got, &moved) < 0.011);
    let start = harness.broadcast(2, &adapter.start).unwrap();
    assert_eq!(harness.receive(2, &start).unwrap(), adapter.start);
    harness.download = Content::Difference;
    let nothing = vec![0.0; adapter.start.len()];
    let sent = harness.broadcast(3, &nothing).unwrap();
    assert_eq!(harness.receive(2, &sent).unwrap(), nothing);
}

#[test]
fn values_that_are_not_finite_are_an_error() {
    let adapter = Adapter::lora(1, &[(4, 4)]);
    for bad in [f32::NAN, f32::INFINITY] {
        let refused = harness(&adapter, 2).upload(1, 0, &[1.0, bad, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        assert!(matches!(refused, Err(PolicyError::Other(_))));
    }
}

#[test]
fn options_that_cannot_be_are_named() {
    let adapter = Adapter::lora(1, &[(4, 4)]);
    for bits in [0, 5, 8, 16, 32, 257] {
        let refused = Harness::<Eden>::new(&adapter, bits, &[]).map(|_| ());
        assert_eq!(refused, Err(bad_option("bits", bits, "1, 2, 3 or 4")));
    }
    for block in [0, 64, 1000] {
        let refused = Harness::<Eden>::new(&adapter, 1, &[("block", block.into())]).map(|_| ());
        assert_eq!(refused, Err(bad_option("block", block, "a power of two from 128 on")));
    }
}

#[test]
fn hostile_messages_are_refused() {
    let adapter = Adapter::lora(4, &[(60, 40)]);
    for bits in 1..=4 {
        let mut harness = harness(&adapter, bits);
        let sent = harness.upload(1, 0, &adapter.delta(1, 1.0)).unwrap();
        for bad in spoiled(&sent) {
            assert!(matches!(harness.collect(&bad), Err(PolicyError::BadMessage(_))));
        }
        assert!(harness.collect(&sent).is_ok());
    }
}
