//! A federation with a fresh mask each round: equal at both ends, values only on the way up, a mask for each tier.

use cellm_plugin::harness::{Adapter, Harness, Load, Owner, Visits, spoiled};
use cellm_plugin::{Content, IndexSet, OptionValue, Part, ValueCoding};

use super::*;

/// 66 values: two pairs and a head.
fn federation(density: f64, options: &[(&str, OptionValue)]) -> Visits<FederatedSelect> {
    let adapter = Adapter::lora(2, &[(7, 5), (8, 8)]).with_head(2, 5);
    let mut harness = Harness::new(&adapter, 32, options).unwrap();
    harness.density = density;
    Visits::new(adapter, harness)
}

#[test]
fn each_round_selects_afresh_and_uploads_carry_no_index() -> Result<(), PolicyError> {
    let mut federation = federation(0.25, &[]);
    federation.next(&[0, 1])?;
    let mut masks = Vec::new();
    for _ in 0..20 {
        let moved = Vector::from_values(federation.weights.clone());
        moved.axpy(-1.0, &Vector::from_values(federation.adapter.start.clone()));
        let largest = moved.top_k(0, 66, 16).read(0, 16);
        let (cost, visits) = federation.next(&[0, 1])?;
        assert_eq!(cost, Load { indices: 16, values: 16 });
        for visit in visits {
            assert_eq!(visit.upload, Load { indices: 0, values: 16 });
            assert_eq!(visit.trainable.as_deref(), Some(largest.as_slice()));
            assert_eq!(visit.decoded, visit.delta);
        }
        masks.push(largest);
    }
    masks.dedup();
    assert!(masks.len() > 1);
    Ok(())
}

#[test]
fn a_newcomer_works_with_the_mask_of_its_first_round() -> Result<(), PolicyError> {
    let mut federation = federation(0.25, &[]);
    federation.next(&[0])?;
    federation.next(&[0])?;
    let (_, visits) = federation.next(&[0, 3])?;
    assert_eq!(visits[0].received, visits[1].received);
    assert_eq!(visits[0].trainable, visits[1].trainable);
    Ok(())
}

#[test]
fn a_lost_update_leaves_the_client_as_it_was() -> Result<(), PolicyError> {
    let mut federation = federation(0.25, &[]);
    federation.next(&[0, 1])?;
    let before = federation.harness.memory(Owner::Client(1));
    federation.next_without(&[0, 1], &[1])?;
    assert_eq!(federation.harness.memory(Owner::Client(1)), before);
    assert_eq!(federation.next(&[1])?.1[0].upload, Load { indices: 0, values: 16 });
    Ok(())
}

#[test]
fn without_a_dense_round_zero_reference_would_select_nothing_but_a() -> Result<(), PolicyError> {
    let options = [("dense_rounds", 0.into()), ("reference", "zero".into())];
    let mut federation = federation(0.25, &options);
    let (_, visits) = federation.next(&[0])?;
    // A lies at 0..10 and 24..40; B and the head are zero.
    let trainable = visits[0].trainable.clone().unwrap_or_default();
    assert_eq!(trainable.len(), 16);
    assert!(trainable.iter().all(|index| (0..10).contains(index) || (24..40).contains(index)));
    Ok(())
}

#[test]
fn a_tier_has_a_mask_of_its_own() -> Result<(), PolicyError> {
    let mut federation = federation(0.25, &[]);
    federation.next(&[0])?;
    federation.next(&[0])?;
    let of_tier_0 = federation.harness.memory(Owner::Server);
    federation.harness.adjust = |context| (context.tier, context.density) = (1, 0.5);
    let (cost, visits) = federation.next(&[1])?;
    assert_eq!((cost.values, visits[0].upload.values), (33, 33));
    assert_eq!(federation.harness.memory(Owner::Server).bytes("mask.0"), of_tier_0.bytes("mask.0"));
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
fn what_does_not_fit_is_an_error_and_no_panic() -> Result<(), PolicyError> {
    let mut federation = federation(0.25, &[]);
    federation.next(&[0])?;
    federation.next(&[0])?;
    let values = |count| Part::Values(ValueCoding::F32, vec![1.0; count].into());
    let set = |space, indices: &[u32]| Part::Indices(IndexSet::from_list(space, indices).unwrap());
    assert!(federation.decoded(Owner::Server, vec![values(66)]).is_err());
    assert!(federation.decoded(Owner::Server, vec![]).is_err());
    assert!(federation.decoded(Owner::Client(0), vec![Part::Bytes(vec![1]), set(66, &[0, 1]), values(2)]).is_err());
    assert!(federation.decoded(Owner::Client(0), vec![Part::Bytes(vec![1]), set(65, &[0, 1]), values(2)]).is_err());
    assert!(federation.decoded(Owner::Client(0), vec![Part::Bytes(vec![0]), values(66)]).is_err());
    assert!(federation.decoded(Owner::Client(3), vec![Part::Bytes(vec![2]), values(16)]).is_err());
    federation.harness.download = Content::Difference;
    let error = federation.next(&[0]).unwrap_err();
    assert!(matches!(error, PolicyError::Other(text) if text.contains("download.error_feedback = false")));
    Ok(())
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
