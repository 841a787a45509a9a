//! The chosen values, their bytes, the decoded vector, and error feedback that brings the rest.

use cellm_plugin::harness::{Adapter, Feedback, Harness, spoiled};
use cellm_plugin::{Content, Part, PolicyError, Vector, bad_option};

use super::*;

fn adapter() -> Adapter {
    Adapter::lora(8, &[(700, 300), (130, 120)])
}

fn harness(adapter: &Adapter, bits: u32, density: f64, chunk: i32) -> Harness<TopKEf> {
    let mut harness = Harness::new(adapter, bits, &[("chunk", chunk.into())]).unwrap();
    harness.density = density;
    harness
}

fn indices(parts: &[Part]) -> Vec<u32> {
    match &parts[0] {
        Part::Indices(set) => set.read(0, set.count()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_chunk_gives_its_share_and_its_largest() {
    let adapter = adapter();
    let delta = adapter.delta(1, 1.0);
    assert_eq!(adapter.values(), 10_000);
    let mut harness = harness(&adapter, 32, 1.0 / 64.0, 4096);
    let sent = harness.upload(1, 0, &delta).unwrap();
    let chosen = indices(&sent.parts);
    // 64 of each 4096, and of the last 1808 their share, 28.25, rounded up.
    let of_chunks = [0..4096, 4096..8192, 8192..10_000].map(|chunk| {
        let least = chosen.iter().filter(|index| chunk.contains(*index)).map(|index| delta[*index as usize].abs());
        let least = least.fold(f32::INFINITY, f32::min);
        let larger = chunk.clone().filter(|index| delta[*index as usize].abs() > least && !chosen.contains(index));
        assert_eq!(larger.count(), 0);
        chosen.iter().filter(|index| chunk.contains(*index)).count()
    });
    assert_eq!(of_chunks, [64, 64, 29]);
    let decoded = harness.collect(&sent).unwrap();
    assert!(decoded.iter().filter(|value| **value != 0.0).count() == 157);
}

#[test]
fn without_chunks_the_largest_of_all_are_sent() {
    let adapter = adapter();
    let delta = adapter.delta(1, 1.0);
    for chunk in [0, 10_000, 1 << 20] {
        let sent = harness(&adapter, 16, 0.01, chunk).upload(1, 0, &delta).unwrap();
        let expected = Vector::from_values(delta.clone()).top_k(0, 10_000, 100);
        assert_eq!(indices(&sent.parts), expected.read(0, 100));
    }
    let all = harness(&adapter, 16, 1.0, 4096).upload(1, 0, &delta).unwrap();
    assert!(matches!(&all.parts[..], [Part::Values(_, values)] if values.len() == 10_000), "no indices at density 1");
}

#[test]
fn messages_cost_what_an_ideal_coder_needs() {
    // Reduction against f32 that random coordinates allow: 16, 2 and 1 bits at densities 1/4 to 1/64.
    let table = [
        (4.0, [6.6, 24.0, 30.0]),
        (16.0, [23.8, 68.0, 79.0]),
        (32.0, [45.5, 120.0, 136.0]),
        (64.0, [87.0, 215.0, 240.0]),
    ];
    let adapter = Adapter::lora(16, &[(20_000, 5_000), (20_000, 5_000)]);
    let draws = Vector::random_normal(adapter.values(), 3, 3).values();
    for (denominator, known) in table {
        for (bits, known) in [16, 2, 1].into_iter().zip(known) {
            let sent = harness(&adapter, bits, 1.0 / denominator, 4096).upload(1, 0, &draws).unwrap();
            let reduction = f64::from(adapter.values()) * 4.0 / sent.bytes as f64;
            assert!(
                (reduction / known - 1.0).abs() < 0.05,
                "1/{denominator} at {bits} bits: {reduction}, {known} known"
            );
        }
    }
}

#[test]
fn few_bits_stay_near_the_values_and_all_bits_hold_them() {
    let adapter = adapter();
    let delta = adapter.delta(5, 1.0);
    let mut before = 1.0;
    for bits in [1, 2, 3, 4, 16, 32] {
        let mut harness = harness(&adapter, bits, 0.1, 0);
        let sent = harness.upload(1, 0, &delta).unwrap();
        let decoded = harness.collect(&sent).unwrap();
        let chosen = indices(&sent.parts);
        let kept: Vec<(f32, f32)> =
            chosen.iter().map(|index| (delta[*index as usize], decoded[*index as usize])).collect();
        let of_squares =
            |of: &dyn Fn(&(f32, f32)) -> f32| kept.iter().map(|pair| f64::from(of(pair)).powi(2)).sum::<f64>();
        let error = of_squares(&|(value, got)| value - got) / of_squares(&|(value, _)| *value);
        assert!(error < before * 0.7, "{bits} bits: {error} of {before}");
        before = error.max(1e-12);
        assert!(kept.iter().all(|(value, got)| bits == 1 || value.signum() == got.signum()));
    }
}

#[test]
fn error_feedback_sends_everything_in_the_end() {
    let adapter = adapter();
    let delta = adapter.delta(2, 1.0);
    for (bits, chunk) in [(1, 4096), (2, 4096), (4, 0), (16, 1024)] {
        let mut harness = harness(&adapter, bits, 1.0 / 16.0, chunk);
        let mut feedback = Feedback::new(&adapter, 1.0);
        let total = Vector::new(adapter.values());
        let mut distances = Vec::new();
        for round in 1..=200 {
            let decoded = feedback.exchange(&mut harness, round, 0, &delta).unwrap().0;
            total.axpy(1.0, &Vector::from_values(decoded));
            let mean = total.copy();
            mean.scale(1.0 / round as f32);
            distances.push(mean.distance(&Vector::from_values(delta.clone())));
        }
        // The residual is bounded, so the mean of what was sent nears the delta as one over the rounds.
        assert!(
            distances[199] < 0.15 && distances[199] < distances[49] * 0.35,
            "{bits} bits: {:?}",
            [distances[49], distances[199]]
        );
    }
}

#[test]
fn a_decay_forgets_old_residuals() {
    let adapter = adapter();
    let mut harness = harness(&adapter, 32, 0.05, 4096);
    let mut feedback = Feedback::new(&adapter, 0.5);
    feedback.exchange(&mut harness, 1, 0, &adapter.delta(2, 1.0)).unwrap();
    let nothing = vec![0.0; adapter.start.len()];
    for round in 2..30 {
        feedback.exchange(&mut harness, round, 0, &nothing).unwrap();
    }
    assert!(Vector::from_values(feedback.residual).norm() < 1e-6);
}

#[test]
fn weights_fall_back_to_the_start_or_to_zero_and_differences_to_zero() {
    let adapter = adapter();
    let weights = adapter.weights(3, 1.0);
    let received = |reference: &str, content| {
        let mut harness = Harness::<TopKEf>::new(&adapter, 2, &[("reference", reference.into())]).unwrap();
        (harness.density, harness.download) = (0.05, content);
        let sent = harness.broadcast(1, &weights).unwrap();
        (indices(&sent.parts), harness.receive(4, &sent).unwrap())
    };
    let (chosen, seeded) = received("seeded", Content::Weights);
    let unsent = |index: &usize| chosen.binary_search(&(*index as u32)).is_err();
    assert!((0..10_000).filter(unsent).all(|index| seeded[index] == adapter.start[index]));
    assert_ne!(seeded, adapter.start);
    for (reference, content) in [("zero", Content::Weights), ("seeded", Content::Difference)] {
        let (chosen, got) = received(reference, content);
        assert!((0..10_000).all(|index| got[index] == 0.0 || chosen.binary_search(&(index as u32)).is_ok()));
    }
}

#[test]
fn bits_that_it_does_not_know_are_a_bad_option() {
    for bits in [0, 5, 8] {
        let refused = Harness::<TopKEf>::new(&adapter(), bits, &[]).map(|_| ());
        assert_eq!(refused, Err(bad_option("bits", bits, "1, 2, 3, 4, 16 or 32")));
    }
}

#[test]
fn hostile_messages_are_refused() {
    let adapter = adapter();
    for bits in [1, 2, 4, 16, 32] {
        let mut harness = harness(&adapter, bits, 0.1, 4096);
        let sent = harness.upload(1, 0, &adapter.delta(1, 1.0)).unwrap();
        for bad in spoiled(&sent) {
            let refused = harness.collect(&bad);
            assert!(matches!(refused, Err(PolicyError::BadMessage(_))), "{bits} bits");
        }
        assert!(harness.collect(&sent).is_ok());
    }
}
