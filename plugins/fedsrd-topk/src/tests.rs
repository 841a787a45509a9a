//! The chosen coordinates, with and without a plan, and the contents of the memory.

use cellm_plugin::harness::{Adapter, Feedback, Harness, Owner, spoiled};
use cellm_plugin::{Content, Part, PolicyError, Vector, bad_option};

use super::*;

fn adapter() -> Adapter {
    Adapter::lora(4, &[(60, 40), (30, 50)]).with_head(10, 5)
}

fn harness(adapter: &Adapter, bits: u32, density: f64) -> Harness<FedSrdTopK> {
    let mut harness = Harness::new(adapter, bits, &[]).unwrap();
    harness.density = density;
    harness
}

fn indices(parts: &[Part]) -> Vec<u32> {
    match &parts[0] {
        Part::Indices(set) => set.read(0, set.count()),
        other => panic!("{other:?}"),
    }
}

/// The coordinates that a client that began there has to send.
fn best(adapter: &Adapter, began: &[f32], delta: &[f32], k: u32) -> Vec<u32> {
    let (began, moved) = (Vector::from_values(began.to_vec()), Vector::from_values(delta.to_vec()));
    let end = began.copy();
    end.axpy(1.0, &moved);
    let scores = scores::scores(&pairs(&adapter.layout).unwrap(), &moved, &began, &end);
    scores.top_k(0, adapter.values(), k).read(0, k)
}

#[test]
fn an_upload_is_scored_by_what_the_client_received_and_trained() {
    let adapter = adapter();
    let (received, delta) = (adapter.weights(5, 3.0), adapter.delta(1, 0.1));
    let (mut harness, k) = (harness(&adapter, 32, 0.1), (f64::from(adapter.values()) * 0.1) as u32);
    assert_eq!(harness.plan(1, 7, &received).unwrap(), None, "all is trained");
    let sent = harness.upload(1, 7, &delta).unwrap();
    assert_eq!(indices(&sent.parts), best(&adapter, &received, &delta, k));
    assert_ne!(indices(&sent.parts), Vector::from_values(delta.clone()).top_k(0, adapter.values(), k).read(0, k));
    let decoded = harness.collect(&sent).unwrap();
    let chosen = indices(&sent.parts);
    assert!((0..delta.len()).all(|i| decoded[i] == if chosen.contains(&(i as u32)) { delta[i] } else { 0.0 }));
}

#[test]
fn nothing_is_remembered_behind_the_upload_and_without_a_plan_the_start_stands_in() {
    let adapter = adapter();
    let (received, delta) = (adapter.weights(5, 3.0), adapter.delta(1, 0.1));
    let mut harness = harness(&adapter, 32, 0.1);
    harness.plan(1, 7, &received).unwrap();
    harness.upload(1, 7, &delta).unwrap();
    assert!(harness.memory(Owner::Client(7)).is_empty());
    let sent = harness.upload(2, 7, &delta).unwrap();
    let k = (f64::from(adapter.values()) * 0.1) as u32;
    assert_eq!(indices(&sent.parts), best(&adapter, &adapter.start, &delta, k));
}

#[test]
fn in_the_first_round_both_a_and_b_are_sent() {
    let adapter = adapter();
    let mut harness = harness(&adapter, 16, 0.1);
    harness.plan(1, 0, &adapter.start).unwrap();
    let chosen = indices(&harness.upload(1, 0, &adapter.delta(3, 1.0)).unwrap().parts);
    let of = |tensor: usize| {
        let tensor = &adapter.layout.tensors[tensor];
        chosen.iter().filter(|index| (tensor.offset..tensor.offset + tensor.len).contains(index)).count()
    };
    assert!((0..4).all(|tensor| of(tensor) > 0), "{:?}", [0, 1, 2, 3].map(of));
}

#[test]
fn weights_are_scored_by_themselves() {
    let adapter = adapter();
    let weights = adapter.weights(3, 2.0);
    let mut harness = harness(&adapter, 32, 0.2);
    let sent = harness.broadcast(1, &weights).unwrap();
    let moved: Vec<f32> = weights.iter().zip(&adapter.start).map(|(w, s)| w - s).collect();
    let (w, k) = (Vector::from_values(weights.clone()), (f64::from(adapter.values()) * 0.2) as u32);
    let scores = scores::scores(&pairs(&adapter.layout).unwrap(), &Vector::from_values(moved), &w, &w);
    assert_eq!(indices(&sent.parts), scores.top_k(0, adapter.values(), k).read(0, k));
    let (received, chosen) = (harness.receive(1, &sent).unwrap(), indices(&sent.parts));
    for (i, value) in received.iter().enumerate() {
        let expected = if chosen.contains(&(i as u32)) { weights[i] } else { adapter.start[i] };
        assert!((value - expected).abs() < 1e-6);
    }
}

#[test]
fn a_difference_is_refused_with_what_to_do() {
    let adapter = adapter();
    let mut harness = harness(&adapter, 32, 0.2);
    harness.download = Content::Difference;
    let refused = harness.broadcast(1, &adapter.delta(1, 1.0)).map(|_| ());
    assert!(matches!(refused, Err(PolicyError::Other(why)) if why.contains("download.error_feedback")));
}

#[test]
fn error_feedback_sends_everything_in_the_end() {
    let adapter = adapter();
    let delta = adapter.delta(2, 1.0);
    let mut harness = harness(&adapter, 4, 1.0 / 8.0);
    let mut feedback = Feedback::new(&adapter, 1.0);
    let total = Vector::new(adapter.values());
    for round in 1..=300 {
        harness.plan(round, 0, &adapter.weights(9, 1.0)).unwrap();
        total.axpy(1.0, &Vector::from_values(feedback.exchange(&mut harness, round, 0, &delta).unwrap().0));
    }
    total.scale(1.0 / 300.0);
    assert!(total.distance(&Vector::from_values(delta)) < 0.1);
}

#[test]
fn bits_that_it_does_not_know_and_layouts_without_pairs_are_refused() {
    let refused = Harness::<FedSrdTopK>::new(&adapter(), 8, &[]).map(|_| ());
    assert_eq!(refused, Err(bad_option("bits", 8, "1, 2, 3, 4, 16 or 32")));
    let head = Adapter::lora(1, &[]).with_head(3, 3);
    assert!(Harness::<FedSrdTopK>::new(&head, 16, &[]).is_err());
}

#[test]
fn hostile_messages_are_refused() {
    let adapter = adapter();
    for bits in [1, 2, 16] {
        let mut harness = harness(&adapter, bits, 0.1);
        let sent = harness.upload(1, 0, &adapter.delta(1, 1.0)).unwrap();
        for bad in spoiled(&sent) {
            assert!(matches!(harness.collect(&bad), Err(PolicyError::BadMessage(_))));
        }
        assert!(harness.collect(&sent).is_ok());
    }
}
