//! Segments, densities, the mixture, the residual, and that a federation gets where it should.

use cellm_plugin::harness::{Adapter, Harness, Owner, Sent, Task, spoiled};
use cellm_plugin::{Context, IndexSet, OptionValue, Part, PolicyError, Vector, bad_option};

use super::*;

fn adapter() -> Adapter {
    Adapter::lora(4, &[(60, 40), (30, 50)]).with_head(10, 5)
}

fn harness(adapter: &Adapter, density: f64, options: &[(&str, OptionValue)]) -> Harness<EcoLora> {
    let mut harness = Harness::new(adapter, 32, options).unwrap();
    harness.density = density;
    harness
}

fn plain(segments: i32) -> Vec<(&'static str, OptionValue)> {
    vec![("segments", segments.into()), ("mix", false.into()), ("residual", false.into())]
}

fn count(sent: &Sent) -> u32 {
    match &sent.parts[0] {
        Part::Indices(set) => set.count(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_client_uploads_one_segment_a_round_and_all_of_them_in_turn() {
    let adapter = adapter();
    let delta = adapter.delta(1, 1.0);
    let mut harness = harness(&adapter, 1.0, &plain(3));
    harness.adjust = |context| context.loss = None;
    let total = Vector::new(adapter.values());
    for round in 4..7 {
        let sent = harness.upload(round, 5, &delta).unwrap();
        let decoded = harness.collect(&sent).unwrap();
        let touched = decoded.iter().filter(|value| **value != 0.0).count() as u32;
        assert!(touched.abs_diff(adapter.values() / 3) <= 1, "{touched}");
        total.axpy(1.0, &Vector::from_values(decoded));
    }
    assert_eq!(total.values(), delta);
}

#[test]
fn a_message_costs_its_segment() {
    let adapter = Adapter::lora(16, &[(20_000, 5_000)]);
    let draws = Vector::random_normal(adapter.values(), 3, 3).values();
    let mut harness = Harness::<EcoLora>::new(&adapter, 16, &plain(5)).unwrap();
    harness.density = 1.0 / 16.0;
    let sent = harness.upload(1, 0, &draws).unwrap();
    // 16 bits and the 5.5 bits of a random coordinate, of 1/16 of a fifth.
    let ideal = f64::from(adapter.values()) / 16.0 / 5.0 * (16.0 + 5.5) / 8.0;
    assert!((sent.bytes as f64 / ideal - 1.0).abs() < 0.05, "{} bytes, {ideal} ideal", sent.bytes);
}

#[test]
fn density_falls_with_the_clients_own_loss_and_a_refused_round_is_forgotten() {
    let adapter = adapter();
    let delta = adapter.delta(1, 1.0);
    let mut harness = harness(&adapter, 0.5, &plain(1));
    let sent = |harness: &mut Harness<EcoLora>, adjust: fn(&mut Context)| {
        harness.adjust = adjust;
        count(&harness.upload(2, 5, &delta).unwrap())
    };
    let first = sent(&mut harness, |context| context.loss = Some(4.0));
    harness.end_round(2, &[]);
    let again = sent(&mut harness, |context| context.loss = Some(3.0));
    assert_eq!((first, again), (first, first), "the first loss is 3 now");
    harness.end_round(2, &[5]);
    let fell = sent(&mut harness, |context| context.loss = Some(2.0));
    let half = (-1.0_f64).exp();
    let of_a = (f64::from(4 * 90) * 0.5 * (0.6 + 0.4 * half)) as u32;
    let of_rest = (f64::from(4 * 90 + 50) * 0.5 * (0.5 + 0.5 * half)) as u32;
    assert_eq!(fell, of_a + of_rest);
    assert_eq!(sent(&mut harness, |context| context.loss = Some(9.0)), first, "a loss that rose");
    assert_eq!(sent(&mut harness, |context| context.loss = None), first);
}

#[test]
fn the_broadcast_thins_out_with_the_mean_loss_that_the_server_saw() {
    let adapter = adapter();
    let (delta, weights) = (adapter.delta(1, 1.0), adapter.weights(2, 1.0));
    let mut harness = harness(&adapter, 0.5, &plain(1));
    let mut counts = Vec::new();
    for round in 1..=4 {
        counts.push(count(&harness.broadcast(round, &weights).unwrap()));
        for client in [3, 4] {
            let sent = harness.upload(round, client, &delta).unwrap();
            harness.collect(&sent).unwrap();
        }
        harness.end_round(round, &[3, 4]);
    }
    // Before the first round and before the second there is nothing to compare; then the loss of the harness falls.
    assert_eq!(counts[0], counts[1]);
    assert!(counts[1] > counts[2] && counts[2] > counts[3], "{counts:?}");
}

#[test]
fn a_client_starts_from_a_mixture_and_sends_how_far_that_pulled_it() {
    let adapter = adapter();
    let mut options = plain(1);
    options[1] = ("mix", true.into());
    options.extend([("mix_beta", 0.5.into()), ("gamma_a", 0.0.into()), ("gamma_b", 0.0.into())]);
    let mut harness = harness(&adapter, 1.0, &options);
    let (first, second) = (adapter.weights(1, 1.0), adapter.weights(2, 1.0));
    let delta = adapter.delta(3, 1.0);
    let global = harness.broadcast(1, &first).unwrap();
    let received = harness.receive(7, &global).unwrap();
    near(&received, &first);
    harness.plan(1, 7, &received).unwrap();
    let sent = harness.upload(1, 7, &delta).unwrap();
    near(&harness.collect(&sent).unwrap(), &delta);
    harness.end_round(1, &[7]);
    // Two rounds later: w = exp(-0.5 * 2).
    let global = harness.broadcast(3, &second).unwrap();
    let received = harness.receive(7, &global).unwrap();
    let w = (-1.0_f32).exp();
    let own = sum(&first, 1.0, &delta);
    let mixed = sum(&sum(&second, -w, &second), w, &own);
    near(&received, &mixed);
    near(&harness.decode(Owner::Server, &global).unwrap(), &second);
    harness.plan(3, 7, &received).unwrap();
    let sent = harness.upload(3, 7, &delta).unwrap();
    near(&harness.collect(&sent).unwrap(), &sum(&sum(&mixed, 1.0, &delta), -1.0, &second));
    harness.end_round(3, &[7]);
    let memory = harness.memory(Owner::Client(7));
    near(memory.vector("own").unwrap(), &sum(&mixed, 1.0, &delta));
    assert!(memory.vector("begun").is_none() && memory.vector("pull").is_none());
}

fn sum(one: &[f32], factor: f32, other: &[f32]) -> Vec<f32> {
    one.iter().zip(other).map(|(one, other)| one + factor * other).collect()
}

fn near(one: &[f32], other: &[f32]) {
    assert!(one.len() == other.len() && one.iter().zip(other).all(|(one, other)| (one - other).abs() < 1e-5));
}

#[test]
fn what_is_left_of_a_segment_is_sent_when_its_turn_comes_again() {
    let adapter = adapter();
    let delta = adapter.delta(1, 1.0);
    let mut harness = harness(&adapter, 0.25, &[("segments", 2.into()), ("mix", false.into())]);
    let total = Vector::new(adapter.values());
    for round in 1..=400 {
        let sent = harness.upload(round, 0, &delta).unwrap();
        total.axpy(1.0, &Vector::from_values(harness.collect(&sent).unwrap()));
        harness.end_round(round, &[0]);
    }
    // Each segment had its turn every other round.
    total.scale(1.0 / 200.0);
    assert!(total.distance(&Vector::from_values(delta)) < 0.05);
}

#[test]
fn a_federation_reaches_what_its_clients_want_together() {
    let adapter = adapter();
    let task = Task::new(&adapter, 10, 5, 0.2);
    let mut harness = harness(&adapter, 1.0, &[("gamma_a", 0.0.into()), ("gamma_b", 0.0.into())]);
    let mut weights = adapter.start.clone();
    let before = task.error(&weights);
    for round in 1..=60 {
        let broadcast = harness.broadcast(round, &weights).unwrap();
        // Uploads are thinner than the broadcast, whose density its decoder reads from the message's own context.
        harness.density = 0.5;
        let sums = Vector::new(adapter.values());
        for client in 0..10 {
            let received = harness.receive(client, &broadcast).unwrap();
            harness.plan(round, client, &received).unwrap();
            let delta = sum(&task.train(client, &received), -1.0, &received);
            let sent = harness.upload(round, client, &delta).unwrap();
            sums.axpy(1.0, &Vector::from_values(harness.collect(&sent).unwrap()));
        }
        // Of ten clients two send each of the five segments: the paper's mean is over these.
        sums.scale(0.5);
        weights = sum(&weights, 1.0, &sums.values());
        harness.end_round(round, &(0..10).collect::<Vec<_>>());
        harness.density = 1.0;
    }
    assert!(task.error(&weights) < before * 0.1, "{} of {before}", task.error(&weights));
}

#[test]
fn options_that_cannot_be_are_named() {
    let adapter = Adapter::lora(1, &[(4, 4)]);
    let refused =
        |bits, name: &str, value: OptionValue| Harness::<EcoLora>::new(&adapter, bits, &[(name, value)]).map(|_| ());
    assert_eq!(refused(4, "segments", 1.into()), Err(bad_option("bits", 4, "16 or 32")));
    assert_eq!(refused(16, "segments", 0.into()), Err(bad_option("segments", 0, "1 to 8, the number of values")));
    assert_eq!(refused(16, "segments", 9.into()), Err(bad_option("segments", 9, "1 to 8, the number of values")));
    for name in ["gamma_a", "gamma_b", "mix_beta"] {
        assert_eq!(refused(16, name, (-0.5).into()), Err(bad_option(name, -0.5, "0 or more")));
    }
}

#[test]
fn hostile_messages_are_refused_or_stay_within_the_segment() {
    let adapter = adapter();
    let mut harness = harness(&adapter, 0.1, &plain(3));
    let sent = harness.upload(1, 0, &adapter.delta(1, 1.0)).unwrap();
    for bad in spoiled(&sent) {
        assert!(matches!(harness.collect(&bad), Err(PolicyError::BadMessage(_))));
    }
    // Fewer values than the loss asks for are allowed: the server does not know the client's first loss.
    let fewer =
        vec![Part::Indices(IndexSet::from_list(adapter.values() / 3 + 1, &[2]).unwrap()), sent.parts[1].clone()];
    assert!(harness.collect(&Sent { parts: fewer, ..sent.clone() }).is_err());
    let mut nobody = sent.clone();
    nobody.context.client = None;
    assert!(harness.collect(&nobody).is_err());
    assert!(harness.collect(&sent).is_ok());
}
