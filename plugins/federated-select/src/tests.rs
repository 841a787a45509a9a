//! A federation with a fresh mask each round: equal at both ends, values only on the way up, a mask for each tier.

use cellm_masks::federation::{Cost, Federation, layout};
use cellm_plugin::{Content, IndexSet, OptionValue, Part};

use super::*;

/// 66 values: two pairs and a head.
fn federation(density: f64, options: &[(&str, OptionValue)]) -> Federation<FederatedSelect> {
    Federation::new(&layout(&[(2, 5, 7), (2, 8, 8)], 10), 4, density, options)
}

#[test]
fn each_round_selects_afresh_and_uploads_carry_no_index() -> Result<(), PolicyError> {
    let mut federation = federation(0.25, &[]);
    federation.round(&[0, 1])?;
    let mut masks = Vec::new();
    for _ in 0..20 {
        let moved = Vector::from_values(federation.weights.clone());
        moved.axpy(-1.0, &Vector::from_values(federation.start.clone()));
        let largest = moved.top_k(0, 66, 16).read(0, 16);
        let (cost, visits) = federation.round(&[0, 1])?;
        assert_eq!(cost, Cost { indices: 16, values: 16 });
        for visit in visits {
            assert_eq!(visit.upload, Cost { indices: 0, values: 16 });
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
    federation.round(&[0])?;
    federation.round(&[0])?;
    let (_, visits) = federation.round(&[0, 3])?;
    assert_eq!(visits[0].received, visits[1].received);
    assert_eq!(visits[0].trainable, visits[1].trainable);
    Ok(())
}

#[test]
fn a_lost_update_leaves_the_client_as_it_was() -> Result<(), PolicyError> {
    let mut federation = federation(0.25, &[]);
    federation.round(&[0, 1])?;
    let before = federation.clients[1].clone();
    federation.round_without(&[0, 1], &[1])?;
    assert_eq!(federation.clients[1], before);
    assert_eq!(federation.round(&[1])?.1[0].upload, Cost { indices: 0, values: 16 });
    Ok(())
}

#[test]
fn without_a_dense_round_zero_reference_would_select_nothing_but_a() -> Result<(), PolicyError> {
    let options = [("dense_rounds", OptionValue::Integer(0)), ("reference", OptionValue::Text("zero".into()))];
    let mut federation = federation(0.25, &options);
    let (_, visits) = federation.round(&[0])?;
    // A lies at 0..10 and 24..40; B and the head are zero.
    let trainable = visits[0].trainable.clone().unwrap_or_default();
    assert_eq!(trainable.len(), 16);
    assert!(trainable.iter().all(|index| (0..10).contains(index) || (24..40).contains(index)));
    Ok(())
}

#[test]
fn a_tier_has_a_mask_of_its_own() -> Result<(), PolicyError> {
    let mut federation = federation(0.25, &[]);
    federation.round(&[0])?;
    federation.round(&[0])?;
    let of_tier_0 = federation.server.clone();
    (federation.tier, federation.density) = (1, 0.5);
    let (cost, visits) = federation.round(&[1])?;
    assert_eq!((cost.values, visits[0].upload.values), (33, 33));
    assert_eq!(federation.server.bytes("mask.0"), of_tier_0.bytes("mask.0"));
    Ok(())
}

#[test]
fn the_server_evaluates_what_clients_see() -> Result<(), PolicyError> {
    let mut federation = federation(0.25, &[]);
    for _ in 0..4 {
        let seen = federation.evaluated()?;
        assert_eq!(seen, federation.round(&[0, 3])?.1[0].received);
    }
    Ok(())
}

#[test]
fn what_does_not_fit_is_an_error_and_no_panic() -> Result<(), PolicyError> {
    let mut federation = federation(0.25, &[]);
    federation.round(&[0])?;
    federation.round(&[0])?;
    let values = |count| Part::Values(ValueCoding::F32, vec![1.0; count].into());
    let set = |space, indices: &[u32]| Part::Indices(IndexSet::from_list(space, indices).unwrap());
    assert!(federation.upload(0, vec![values(66)]).is_err());
    assert!(federation.upload(0, vec![]).is_err());
    assert!(federation.download(0, vec![Part::Bytes(vec![1]), set(66, &[0, 1]), values(2)]).is_err());
    assert!(federation.download(0, vec![Part::Bytes(vec![1]), set(65, &[0, 1]), values(2)]).is_err());
    assert!(federation.download(0, vec![Part::Bytes(vec![0]), values(66)]).is_err());
    assert!(federation.download(3, vec![Part::Bytes(vec![2]), values(16)]).is_err());
    federation.content = Content::Difference;
    let error = federation.round(&[0]).unwrap_err();
    assert!(matches!(error, PolicyError::Other(text) if text.contains("download.error_feedback = false")));
    Ok(())
}
