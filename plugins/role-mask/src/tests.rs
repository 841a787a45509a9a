//! Federations of the four schemes: who trains, who sends what, what clients keep, how newcomers catch up.

use cellm_plugin::harness::{Adapter, Harness, Load, Owner, Visits, spoiled};
use cellm_plugin::{OptionValue, Part as Sent, Role};

use super::*;

/// Values of A, of B and of the head.
const A: u32 = 3 * 5 + 2 * 8;
const B: u32 = 3 * 7 + 2 * 6;
const HEAD: u32 = 10;

fn model() -> Adapter {
    let mut adapter = Adapter::lora(3, &[(7, 5)]);
    adapter.push("base_model.model.layers.1.proj.lora_A.weight", Role::LoraA, &[2, 8], 2);
    adapter.push("base_model.model.layers.1.proj.lora_B.weight", Role::LoraB, &[6, 2], 2);
    adapter.with_head(2, 5)
}

fn with(options: &[(&str, OptionValue)], density: f64) -> Visits<RoleMask> {
    let mut harness = Harness::new(&model(), 32, options).unwrap();
    harness.density = density;
    Visits::new(model(), harness).catching_up()
}

fn federation(scheme: &str, density: f64) -> Visits<RoleMask> {
    with(&[("scheme", scheme.into())], density)
}

fn values(values: u32) -> Load {
    Load { indices: 0, values }
}

/// Coordinates of A and of B in `model`.
fn factors() -> (Vec<u32>, Vec<u32>) {
    ((0..15).chain(36..52).collect(), (15..36).chain(52..64).collect())
}

fn at(values: &[f32], coordinates: &[u32]) -> Vec<f32> {
    coordinates.iter().map(|index| values[*index as usize]).collect()
}

#[test]
fn ffa_lora_moves_b_and_the_head_only_and_needs_no_memory() -> Result<(), PolicyError> {
    let mut federation = federation("ffa-lora", 1.0);
    let (a, b) = factors();
    for _ in 0..3 {
        let (cost, visits) = federation.next(&[0, 1])?;
        assert_eq!((cost, visits[0].upload, visits[0].catch_up), (values(B + HEAD), values(B + HEAD), None));
        let trainable: Vec<u32> = b.iter().copied().chain(64..74).collect();
        assert_eq!(visits[0].trainable.as_ref(), Some(&trainable));
        assert_eq!(visits[0].decoded, visits[0].delta);
        assert_eq!(at(&federation.weights, &a), at(&federation.adapter.start, &a));
    }
    let owners = [Owner::Server, Owner::Client(0), Owner::Client(1)];
    assert!(owners.into_iter().all(|owner| federation.harness.memory(owner).is_empty()));
    assert_eq!(federation.evaluated()?, federation.weights);
    Ok(())
}

#[test]
fn ffa_lora_refuses_an_a_that_has_moved() {
    let mut federation = federation("ffa-lora", 1.0);
    federation.weights[0] += 1.0;
    let error = federation.next(&[0]).unwrap_err();
    assert!(matches!(error, PolicyError::Other(text) if text.contains("upload.policy must be role-mask too")));
}

#[test]
fn rolora_sends_the_factor_that_changed_and_everyone_has_both() -> Result<(), PolicyError> {
    let mut federation = federation("rolora", 1.0);
    let cohorts: [&[u32]; 8] = [&[0, 1], &[0], &[0, 2], &[0], &[0, 1], &[0, 2, 3], &[0, 2], &[0, 3]];
    for (round, cohort) in (1..).zip(cohorts) {
        let weights = federation.weights.clone();
        let (cost, visits) = federation.next(cohort)?;
        let changed = [0, A, B][if round == 1 { 0 } else { 1 + usize::from(round % 2 == 0) }];
        let ranks = if round == 1 { 0 } else { 5 };
        assert_eq!(cost, Load { indices: ranks, values: changed + HEAD });
        let active = if round % 2 == 1 { B } else { A };
        for visit in &visits {
            assert_eq!(visit.received, weights, "round {round}");
            assert_eq!(visit.upload, values(active + HEAD));
            assert_eq!(visit.decoded, visit.delta);
        }
        assert_eq!(visits[0].catch_up, None);
    }
    Ok(())
}

#[test]
fn rolora_catches_a_newcomer_up_on_the_other_factor_alone() -> Result<(), PolicyError> {
    let mut federation = federation("rolora", 1.0);
    for _ in 0..4 {
        federation.next(&[0])?;
    }
    // Round 4 trained A, so the broadcast of round 5 has A; the newcomer lacks B.
    let (_, visits) = federation.next(&[0, 3])?;
    assert_eq!(visits[1].catch_up, Some(Load { indices: 5, values: B }));
    assert_eq!(visits[1].received, visits[0].received);
    // Who was there in round 5 lacks nothing in round 6.
    let (_, visits) = federation.next(&[3])?;
    assert_eq!(visits[0].catch_up, None);
    Ok(())
}

#[test]
fn rolora_starts_from_weights_that_differ_from_the_seed() -> Result<(), PolicyError> {
    let mut federation = federation("rolora", 1.0);
    federation.weights.iter_mut().for_each(|weight| *weight += 0.5);
    for cohort in [&[0][..], &[0, 1], &[0, 2]] {
        let weights = federation.weights.clone();
        let (_, visits) = federation.next(cohort)?;
        assert!(visits.iter().all(|visit| visit.received == weights));
    }
    Ok(())
}

#[test]
fn a_lost_update_of_rolora_is_caught_up_on() -> Result<(), PolicyError> {
    let mut federation = federation("rolora", 1.0);
    federation.next(&[0, 1])?;
    federation.next_without(&[0, 1], &[1])?;
    let weights = federation.weights.clone();
    let (_, visits) = federation.next(&[0, 1])?;
    assert!(visits[1].catch_up.is_some());
    assert!(visits.iter().all(|visit| visit.received == weights));
    Ok(())
}

#[test]
fn fedsa_shares_a_and_leaves_b_with_its_client() -> Result<(), PolicyError> {
    let mut federation = federation("fedsa", 1.0);
    let (a, b) = factors();
    let mut own = vec![vec![0.0; B as usize]; 2];
    for _ in 0..3 {
        let (cost, visits) = federation.next(&[0, 1])?;
        assert_eq!((cost, visits[0].upload), (values(A + HEAD), values(A + HEAD)));
        for (visit, own) in visits.iter().zip(&mut own) {
            assert_eq!((visit.trainable.as_ref(), &at(&visit.received, &b)), (None, &*own));
            own.iter_mut().zip(at(&visit.delta, &b)).for_each(|(own, change)| *own += change);
            assert!(at(&visit.decoded, &b).iter().all(|value| *value == 0.0));
        }
        assert_eq!(at(&visits[0].received, &a), at(&visits[1].received, &a));
    }
    // The server evaluates with B at its start.
    assert!(at(&federation.evaluated()?, &b).iter().all(|value| *value == 0.0));
    Ok(())
}

#[test]
fn a_lost_update_of_fedsa_does_not_move_the_clients_b() -> Result<(), PolicyError> {
    let mut federation = federation("fedsa", 1.0);
    federation.next(&[0])?;
    let kept = federation.harness.memory(Owner::Client(0)).vector("own").map(<[f32]>::to_vec);
    federation.next_without(&[0, 1], &[0])?;
    assert_eq!(federation.harness.memory(Owner::Client(0)).vector("own").map(<[f32]>::to_vec), kept);
    assert_eq!(Some(at(&federation.next(&[0])?.1[0].received, &factors().1)), kept);
    Ok(())
}

#[test]
fn fedsa_refuses_a_b_that_is_not_the_clients() {
    let error = federation("fedsa", 1.0).harness.plan(1, 0, &[1.0; 74]).unwrap_err();
    assert!(matches!(error, PolicyError::Other(text) if text.contains("must serve both directions")));
}

#[test]
fn lora_a2_sends_the_ranks_that_moved_the_product_most() -> Result<(), PolicyError> {
    let mut federation = federation("lora-a2", 0.4);
    let (_, visits) = federation.next(&[0])?;
    let visit = &visits[0];
    // Rank by hand: B's column norms of the delta times A's row norms.
    let column = |offset: usize, rank: usize, rows: usize, v: usize| {
        (0..rows).map(|row| visit.delta[offset + row * rank + v].powi(2)).sum::<f32>().sqrt()
    };
    let row = |offset: usize, columns: usize, v: usize| {
        visit.received[offset + v * columns..][..columns].iter().map(|value| value.powi(2)).sum::<f32>().sqrt()
    };
    let first = (0..3).map(|v| (column(15, 3, 7, v) * row(0, 5, v), 15, 3, 7, v));
    let second = (0..2).map(|v| (column(52, 2, 6, v) * row(36, 8, v), 52, 2, 6, v));
    let mut ranks: Vec<_> = first.chain(second).collect();
    ranks.sort_by(|one, other| other.0.total_cmp(&one.0));
    let mut expected = vec![0.0; 74];
    expected[64..].copy_from_slice(&visit.delta[64..]);
    let mut sent = 0;
    for (_, offset, rank, rows, v) in ranks.into_iter().take(2) {
        for index in (0..rows).map(|row| offset + row * rank + v) {
            expected[index] = visit.delta[index];
            sent += 1;
        }
    }
    assert_eq!(visit.decoded, expected);
    assert_eq!(visit.upload, Load { indices: 2, values: sent + HEAD });
    Ok(())
}

#[test]
fn lora_a2_can_share_ranks_out_to_every_pair() -> Result<(), PolicyError> {
    let mut federation = with(&[("scheme", "lora-a2".into()), ("pool", "pair".into())], 0.4);
    let (_, visits) = federation.next(&[0])?;
    assert_eq!(visits[0].upload, Load { indices: 2, values: 7 + 6 + HEAD });
    Ok(())
}

#[test]
fn lora_a2_broadcasts_the_ranks_that_changed_and_all_catch_up() -> Result<(), PolicyError> {
    let mut federation = federation("lora-a2", 0.2);
    let cohorts: [&[u32]; 8] = [&[0], &[0], &[0, 2], &[0], &[0, 1], &[0, 2, 3], &[0, 2], &[0, 3]];
    for cohort in cohorts {
        let weights = federation.weights.clone();
        let (cost, visits) = federation.next(cohort)?;
        // Each client of the round before sent one rank.
        assert!(cost.indices <= 3);
        assert!(visits.iter().all(|visit| visit.received == weights));
        assert_eq!(visits[0].catch_up, None);
    }
    Ok(())
}

#[test]
fn the_server_evaluates_what_clients_see() -> Result<(), PolicyError> {
    for scheme in ["ffa-lora", "rolora", "lora-a2"] {
        let mut federation = federation(scheme, 0.4);
        for _ in 0..5 {
            let seen = federation.evaluated()?;
            assert_eq!(seen, federation.next(&[0, 3])?.1[0].received);
        }
    }
    Ok(())
}

#[test]
fn differences_go_in_turns_too_but_not_beside_a_personal_b() -> Result<(), PolicyError> {
    for (scheme, second) in [("ffa-lora", B), ("rolora", B), ("lora-a2", B)] {
        let mut federation = federation(scheme, 1.0);
        federation.harness.download = Content::Difference;
        // The reference is the start: the difference is what the server's weights have moved.
        federation.adapter.start.fill(0.0);
        federation.weights.fill(0.0);
        federation.next(&[0])?;
        federation.weights[15] = 2.0;
        let (cost, visits) = federation.next(&[0, 1])?;
        assert_eq!((cost.values, visits[1].catch_up), (second + HEAD, None));
        assert_eq!((visits[1].received[15], visits[1].received[0]), (2.0, 0.0));
    }
    let mut federation = federation("fedsa", 1.0);
    federation.harness.download = Content::Difference;
    let error = federation.next(&[0]).unwrap_err();
    assert!(matches!(error, PolicyError::Other(text) if text.contains("download.error_feedback = false")));
    Ok(())
}

#[test]
fn what_does_not_fit_is_an_error_and_no_panic() -> Result<(), PolicyError> {
    let values = |count| Sent::Values(ValueCoding::F32, vec![1.0; count].into());
    let set = |space, indices: &[u32]| Sent::Indices(IndexSet::from_list(space, indices).unwrap());
    for scheme in ["ffa-lora", "rolora", "fedsa", "lora-a2"] {
        let mut federation = federation(scheme, 0.4);
        federation.next(&[0])?;
        federation.next(&[0])?;
        assert!(federation.decoded(Owner::Server, vec![values(3)]).is_err());
        assert!(federation.decoded(Owner::Server, vec![]).is_err());
        assert!(federation.decoded(Owner::Client(0), vec![values(3)]).is_err());
        assert!(federation.decoded(Owner::Client(0), vec![Sent::Bytes(vec![2])]).is_err());
        assert!(federation.decoded(Owner::Client(0), vec![Sent::Bytes(vec![0]), set(5, &[0]), values(1)]).is_err());
        assert!(federation.decoded(Owner::Client(0), vec![Sent::Bytes(vec![0, 0]), set(6, &[5])]).is_err());
    }
    let mut federation = federation("lora-a2", 0.4);
    federation.next(&[0])?;
    assert!(federation.decoded(Owner::Server, vec![set(5, &[1]), values(7), values(10)]).is_err());
    assert!(federation.decoded(Owner::Server, vec![set(5, &[1, 4]), values(1), values(10)]).is_err());
    Ok(())
}

#[test]
fn factors_without_their_other_half_are_refused() {
    let mut alone = model();
    alone.layout.tensors.retain(|tensor| !tensor.name.ends_with("layers.1.proj.lora_B.weight"));
    let error = Harness::<RoleMask>::new(&alone, 32, &[]).err();
    assert!(matches!(error, Some(PolicyError::Other(text)) if text.contains("layers.1.proj.lora_A.weight")));
}

#[test]
fn spoiled_messages_are_refused_both_ways() -> Result<(), PolicyError> {
    for scheme in ["ffa-lora", "rolora", "fedsa", "lora-a2"] {
        let mut federation = federation(scheme, 0.4);
        for round in 1..7 {
            let harness = &mut federation.harness;
            let broadcast = harness.broadcast(round, &federation.weights)?;
            assert!(spoiled(&broadcast).iter().all(|sent| harness.receive(0, sent).is_err()));
            let received = harness.receive(0, &broadcast)?;
            harness.plan(round, 0, &received)?;
            let upload = harness.upload(round, 0, &vec![1.0; received.len()])?;
            assert!(spoiled(&upload).iter().all(|sent| harness.collect(sent).is_err()));
            harness.owners.roll_back_all();
            federation.next(&[0])?;
        }
    }
    Ok(())
}
