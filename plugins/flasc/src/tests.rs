//! The coordinates that flasc keeps, and the receiver's values at the others.

use cellm_plugin::harness::{Adapter, Aggregation, Harness, Rounds, Task};

use super::*;

fn flasc(values: u32) -> Flasc {
    Flasc { values, decay: 0.5, decay_every: 10, seeded: false, coding: ValueCoding::F32 }
}

#[test]
fn density_halves_every_ten_rounds() {
    let kept: Vec<u32> = [1, 10, 11, 20, 21].map(|round| flasc(1000).kept(0.25, round)).into();
    assert_eq!(kept, [250, 250, 125, 125, 62]);
}

#[test]
fn at_least_one_value_is_kept_and_never_more_than_all() {
    assert_eq!(flasc(1000).kept(1e-9, 1), 1);
    assert_eq!(flasc(1000).kept(0.25, u32::MAX), 1);
    assert_eq!(flasc(1000).kept(1.0, 1), 1000);
    assert_eq!(flasc(0).kept(1.0, 1), 0);
}

#[test]
fn without_decay_every_density_stays() {
    let constant = Flasc { decay_every: 0, ..flasc(1000) };
    assert_eq!(constant.kept(0.25, 500), 250);
}

fn adapter() -> Adapter {
    Adapter::lora(4, &[(40, 24), (24, 40)])
}

fn harness(reference: &str, density: f64) -> Harness<Flasc> {
    let mut harness = Harness::new(&adapter(), 32, &[("reference", reference.into())]).unwrap();
    harness.density = density;
    harness
}

#[test]
fn what_is_not_sent_is_the_start_or_zero() {
    let (adapter, weights) = (adapter(), adapter().weights(1, 1.0));
    for (reference, content, falls_back) in
        [("seeded", Content::Weights, true), ("zero", Content::Weights, false), ("seeded", Content::Difference, false)]
    {
        let mut harness = harness(reference, 0.25);
        harness.download = content;
        let sent = harness.broadcast(1, &weights).unwrap();
        let got = harness.receive(0, &sent).unwrap();
        let of = |i: usize| if falls_back { adapter.start[i] } else { 0.0 };
        let sent_ones: Vec<usize> = (0..got.len()).filter(|i| got[*i] != of(*i)).collect();
        assert!(sent_ones.iter().all(|i| got[*i] == weights[*i]), "{reference} {content:?}");
        assert_eq!(sent_ones.len() as u32, adapter.values() / 4);
        let score = |i: usize| (weights[i] - of(i)).abs();
        let least = sent_ones.iter().map(|i| score(*i)).fold(f32::MAX, f32::min);
        assert!((0..got.len()).all(|i| score(i) <= least || sent_ones.contains(&i)));
    }
}

#[test]
fn each_message_is_as_dense_as_its_context_says() {
    let mut harness = harness("seeded", 0.01);
    harness.adjust = |context| {
        if context.client == Some(1) {
            context.density = 1.0;
        }
    };
    let delta = adapter().delta(1, 1.0);
    for (client, kept) in [(0, adapter().values() / 100), (1, adapter().values())] {
        let sent = harness.upload(1, client, &delta).unwrap();
        let got = harness.collect(&sent).unwrap();
        assert_eq!(got.iter().filter(|value| **value != 0.0).count() as u32, kept);
    }
}

#[test]
fn a_message_with_other_indices_than_agreed_is_refused() {
    let delta = adapter().delta(1, 1.0);
    let mut sent = harness("seeded", 0.25).upload(1, 0, &delta).unwrap();
    sent.context.density = 0.5;
    assert!(matches!(harness("seeded", 0.25).collect(&sent), Err(PolicyError::BadMessage(_))));
}

/// The mean, for whole rounds.
struct Mean(Vec<Vector>);

impl Policy for Mean {
    fn describe() -> Description {
        Description { options: vec![], ..Flasc::describe() }
    }
}

impl cellm_plugin::Aggregator for Mean {
    fn new(_: Layout, _: &Options) -> Result<Self, PolicyError> {
        Ok(Self(vec![]))
    }

    fn begin(&mut self, _: &cellm_plugin::RoundInfo, _: &Vector) -> Result<(), PolicyError> {
        self.0.clear();
        Ok(())
    }

    fn accept(&mut self, update: &Vector, _: &cellm_plugin::UpdateInfo) -> Result<(), PolicyError> {
        self.0.push(update.copy());
        Ok(())
    }

    fn finish(&mut self) -> Result<Vector, PolicyError> {
        let lent: Vec<&Vector> = self.0.iter().collect();
        Ok(Vector::trimmed_mean(&lent, 0))
    }
}

#[test]
fn sparse_uploads_solve_the_task_with_fewer_bytes() {
    let adapter = adapter();
    let task = Task::new(&adapter, 8, 3, 0.1);
    let mut rounds = Rounds::new(&adapter, harness("seeded", 0.25), Aggregation::<Mean>::new(&adapter, &[]).unwrap());
    rounds.compressor.adjust = |context| {
        if context.direction == cellm_plugin::Direction::Download {
            context.density = 1.0;
        }
    };
    let before = task.error(&rounds.weights);
    for _ in 0..30 {
        let ended = rounds.next(&[0, 1, 2, 3, 4, 5, 6, 7], &[5], |client, from| task.train(client, from)).unwrap();
        assert_eq!((ended.received.len(), ended.updates.len()), (8, 7));
        assert!(ended.bytes_up * 3 < ended.bytes_down);
    }
    assert!(task.error(&rounds.weights) < before * 0.1, "{before} -> {}", task.error(&rounds.weights));
}
