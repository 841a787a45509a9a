//! A federation with one mask for the whole run: what travels, who knows the mask, what is refused.

use cellm_plugin::harness::{Adapter, Harness, Load, Owner, Visits, spoiled};
use cellm_plugin::{Content, IndexSet, OptionValue, Part, ValueCoding};

use super::*;

/// 66 values: two pairs and a head.
fn federation(density: f64, options: &[(&str, OptionValue)]) -> Visits<SparseAdapter> {
    let adapter = Adapter::lora(2, &[(7, 5), (8, 8)]).with_head(2, 5);
    let mut harness = Harness::new(&adapter, 32, options).unwrap();
    harness.density = density;
    Visits::new(adapter, harness).catching_up()
}

#[test]
fn after_a_dense_round_values_travel_without_indices_but_once() -> Result<(), PolicyError> {
    let mut federation = federation(0.25, &[]);
    let dense = Load { indices: 0, values: 66 };
    let (cost, visits) = federation.next(&[0, 1])?;
    assert_eq!((cost, visits[0].upload, &visits[0].trainable), (dense, dense, &None));
    let moved: Vec<f32> =
        federation.weights.iter().zip(&federation.adapter.start).map(|(w, start)| w - start).collect();
    let largest = Vector::from_values(moved).top_k(0, 66, 16).read(0, 16);
    let bare = Load { indices: 0, values: 16 };
    for round in 2..6 {
        let (cost, visits) = federation.next(&[0, 1])?;
        assert_eq!(cost, if round == 2 { Load { indices: 16, values: 16 } } else { bare });
        for visit in visits {
            assert_eq!((visit.catch_up, visit.upload), (None, bare));
            assert_eq!(visit.trainable.as_deref(), Some(largest.as_slice()));
            assert_eq!(visit.decoded, visit.delta);
        }
    }
    Ok(())
}

#[test]
fn newcomers_and_who_lost_the_round_of_the_mask_are_told_it_once() -> Result<(), PolicyError> {
    let mut federation = federation(0.25, &[]);
    federation.next(&[0, 1])?;
    federation.next_without(&[0, 1], &[1])?;
    let mask = Some(Load { indices: 16, values: 0 });
    let (_, visits) = federation.next(&[0, 1, 2])?;
    assert_eq!(visits.iter().map(|visit| visit.catch_up).collect::<Vec<_>>(), [None, mask, mask]);
    assert!(visits.iter().all(|visit| visit.received == visits[0].received));
    assert!(visits.iter().all(|visit| visit.trainable == visits[0].trainable));
    let (_, visits) = federation.next(&[1, 2])?;
    assert!(visits.iter().all(|visit| visit.catch_up.is_none()));
    Ok(())
}

#[test]
fn outside_of_the_mask_the_client_has_the_start_or_zero() -> Result<(), PolicyError> {
    for word in ["seeded", "zero"] {
        let mut federation = federation(0.25, &[("reference", word.into())]);
        federation.next(&[0, 1])?;
        let weights = federation.weights.clone();
        let (_, visits) = federation.next(&[0])?;
        let mask = visits[0].trainable.clone().unwrap_or_default();
        for (index, weight) in weights.iter().enumerate() {
            let outside = if word == "zero" { 0.0 } else { federation.adapter.start[index] };
            let expected = if mask.contains(&(index as u32)) { *weight } else { outside };
            assert_eq!(visits[0].received[index], expected);
        }
    }
    Ok(())
}

#[test]
fn the_server_evaluates_what_clients_see() -> Result<(), PolicyError> {
    let mut federation = federation(0.25, &[]);
    for _ in 0..4 {
        let seen = federation.evaluated()?;
        assert_eq!(seen, federation.next(&[0, 3])?.1[0].received);
    }
    Ok(())
}

#[test]
fn density_one_never_masks() -> Result<(), PolicyError> {
    let mut federation = federation(1.0, &[]);
    for _ in 0..3 {
        let (cost, visits) = federation.next(&[0, 1])?;
        assert_eq!((cost, &visits[0].trainable), (Load { indices: 0, values: 66 }, &None));
    }
    let (_, visits) = federation.next(&[2])?;
    assert_eq!(visits[0].received.len(), 66);
    Ok(())
}

#[test]
fn a_tier_has_a_mask_of_its_own() -> Result<(), PolicyError> {
    let mut federation = federation(0.25, &[]);
    federation.next(&[0])?;
    federation.next(&[0])?;
    federation.harness.adjust = |context| (context.tier, context.density) = (1, 0.5);
    let (cost, _) = federation.next(&[1])?;
    assert_eq!(cost, Load { indices: 33, values: 33 });
    Ok(())
}

#[test]
fn what_does_not_fit_is_an_error_and_no_panic() -> Result<(), PolicyError> {
    let mut federation = federation(0.25, &[]);
    federation.next(&[0])?;
    federation.next(&[0])?;
    let values = |count| Part::Values(ValueCoding::F32, vec![1.0; count].into());
    let set = |space, indices: &[u32]| Part::Indices(IndexSet::from_list(space, indices).unwrap());
    assert!(federation.decoded(Owner::Server, vec![values(15)]).is_err());
    assert!(federation.decoded(Owner::Server, vec![]).is_err());
    assert!(federation.decoded(Owner::Server, vec![set(66, &[1])]).is_err());
    assert!(federation.decoded(Owner::Client(0), vec![Part::Bytes(vec![9])]).is_err());
    assert!(federation.decoded(Owner::Client(0), vec![Part::Bytes(vec![])]).is_err());
    assert!(federation.decoded(Owner::Client(0), vec![Part::Bytes(vec![1]), set(66, &[0, 1]), values(2)]).is_err());
    assert!(federation.decoded(Owner::Client(0), vec![Part::Bytes(vec![3]), set(16, &[]), values(0)]).is_err());
    let error = federation.decoded(Owner::Client(3), vec![Part::Bytes(vec![2]), values(16)]).unwrap_err();
    assert!(
        matches!(error, PolicyError::Other(text) if text.contains("no mask of sparse-adapter in memory for tier 0"))
    );
    Ok(())
}

#[test]
fn another_download_policy_and_differences_are_refused_by_name() {
    let mut federation = federation(0.25, &[]);
    let start = federation.adapter.start.clone();
    let error = federation.harness.plan(2, 3, &start).unwrap_err();
    assert!(matches!(error, PolicyError::Other(text) if text.contains("must serve both directions")));
    federation.harness.download = Content::Difference;
    let error = federation.next(&[0]).unwrap_err();
    assert!(matches!(error, PolicyError::Other(text) if text.contains("download.error_feedback = false")));
}

#[test]
fn spoiled_messages_are_refused_both_ways() -> Result<(), PolicyError> {
    let mut federation = federation(0.25, &[]);
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
    Ok(())
}
