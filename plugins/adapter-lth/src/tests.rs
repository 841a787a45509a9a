//! A federation whose mask shrinks: masks are nested and equal at both ends, shrinks are told compactly, also later.

use cellm_plugin::harness::{Adapter, Harness, Load, Owner, Visit, Visits, spoiled};
use cellm_plugin::{Content, OptionValue, Part, ValueCoding};

use super::*;

/// 66 values: two pairs and a head. The mask: 66, 33 from round 3, 16 from round 5, 13 from round 7.
fn federation(options: &[(&str, OptionValue)]) -> Visits<AdapterLth> {
    let mut all = vec![("keep", 0.5.into()), ("every", 2.into())];
    all.extend_from_slice(options);
    let adapter = Adapter::lora(2, &[(7, 5), (8, 8)]).with_head(2, 5);
    let mut harness = Harness::new(&adapter, 32, &all).unwrap();
    harness.density = 0.2;
    Visits::new(adapter, harness).catching_up()
}

fn mask(visit: &Visit) -> Vec<u32> {
    visit.trainable.clone().unwrap_or_else(|| (0..66).collect())
}

#[test]
fn the_mask_shrinks_to_the_largest_of_what_it_has() -> Result<(), PolicyError> {
    let mut federation = federation(&[]);
    let mut before: Vec<u32> = (0..66).collect();
    for (round, count) in (1..).zip([66, 66, 33, 33, 16, 16, 13, 13, 13, 13]) {
        let moved: Vec<f32> =
            federation.weights.iter().zip(&federation.adapter.start).map(|(w, start)| w - start).collect();
        let (cost, visits) = federation.next(&[0, 1])?;
        let now = mask(&visits[0]);
        assert_eq!((now.len(), mask(&visits[1])), (count, now.clone()));
        assert!(now.iter().all(|index| before.contains(index)));
        let least = now.iter().map(|index| moved[*index as usize].abs()).fold(f32::INFINITY, f32::min);
        let dropped = before.iter().filter(|index| !now.contains(index));
        assert!(dropped.into_iter().all(|index| moved[*index as usize].abs() <= least));
        let told = if [3, 5, 7].contains(&round) { count as u32 } else { 0 };
        assert_eq!(cost, Load { indices: told, values: count as u32 });
        assert_eq!(visits[0].upload, Load { indices: 0, values: count as u32 });
        assert_eq!(visits[0].decoded, visits[0].delta);
        before = now;
    }
    Ok(())
}

#[test]
fn whoever_comes_whenever_has_the_same_mask() -> Result<(), PolicyError> {
    let cohorts: [&[u32]; 10] =
        [&[0, 1], &[0], &[0, 2], &[0, 1], &[0, 3], &[0, 2], &[0, 1, 4], &[0, 3], &[0, 2, 1], &[0, 4]];
    let mut federation = federation(&[]);
    for cohort in cohorts {
        let (_, visits) = federation.next(cohort)?;
        for visit in &visits {
            assert_eq!(mask(visit), mask(&visits[0]));
            assert_eq!(visit.received, visits[0].received);
        }
        // Client 0 is always there and never needs anything.
        assert_eq!(visits[0].catch_up, None);
    }
    Ok(())
}

#[test]
fn a_catch_up_tells_what_is_left_of_what_the_client_has() -> Result<(), PolicyError> {
    let mut federation = federation(&[]);
    for cohort in [&[0, 1][..], &[0], &[0, 2], &[0], &[0]] {
        federation.next(cohort)?;
    }
    let (_, visits) = federation.next(&[0, 1, 2, 3])?;
    let told = |count| Some(Load { indices: count, values: 0 });
    assert_eq!(visits.iter().map(|visit| visit.catch_up).collect::<Vec<_>>(), [None, told(16), told(16), told(16)]);
    // In round 7 the broadcast tells the last shrink, to a newcomer too.
    let (_, visits) = federation.next(&[0, 4])?;
    assert_eq!((visits[1].catch_up, mask(&visits[1]).len()), (told(16), 13));
    Ok(())
}

#[test]
fn a_lost_update_is_caught_up_on() -> Result<(), PolicyError> {
    let mut federation = federation(&[]);
    federation.next(&[0, 1])?;
    federation.next(&[0, 1])?;
    federation.next_without(&[0, 1], &[1])?;
    let (_, visits) = federation.next(&[0, 1])?;
    assert_eq!((visits[0].catch_up, visits[1].catch_up), (None, Some(Load { indices: 33, values: 0 })));
    assert_eq!(mask(&visits[0]), mask(&visits[1]));
    Ok(())
}

#[test]
fn the_server_evaluates_what_clients_see() -> Result<(), PolicyError> {
    let mut federation = federation(&[("reference", "zero".into())]);
    for _ in 0..9 {
        let seen = federation.evaluated()?;
        assert_eq!(seen, federation.next(&[0, 3])?.1[0].received);
    }
    Ok(())
}

#[test]
fn keep_one_never_shrinks_and_every_zero_is_refused() -> Result<(), PolicyError> {
    let mut whole = federation(&[]);
    whole.harness.density = 1.0;
    for _ in 0..6 {
        assert_eq!(whole.next(&[0])?.0, Load { indices: 0, values: 66 });
    }
    let refused = Harness::<AdapterLth>::new(&Adapter::lora(1, &[(2, 2)]), 32, &[("every", 0.into())]);
    assert!(matches!(refused.err(), Some(PolicyError::BadOption(bad)) if bad.name == "every"));
    Ok(())
}

#[test]
fn what_does_not_fit_is_an_error_and_no_panic() -> Result<(), PolicyError> {
    let mut federation = federation(&[]);
    for _ in 0..4 {
        federation.next(&[0])?;
    }
    let values = |count| Part::Values(ValueCoding::F32, vec![1.0; count].into());
    let set = |space, indices: &[u32]| Part::Indices(IndexSet::from_list(space, indices).unwrap());
    assert!(federation.decoded(Owner::Server, vec![values(66)]).is_err());
    assert!(federation.decoded(Owner::Server, vec![Part::Bytes(vec![])]).is_err());
    assert!(federation.decoded(Owner::Client(0), vec![Part::Bytes(vec![3]), set(33, &[0]), values(1)]).is_err());
    assert!(federation.decoded(Owner::Client(0), vec![Part::Bytes(vec![3]), set(66, &[0]), values(1)]).is_err());
    assert!(federation.decoded(Owner::Client(3), vec![Part::Bytes(vec![2]), values(33)]).is_err());
    federation.harness.download = Content::Difference;
    let error = federation.next(&[0]).unwrap_err();
    assert!(matches!(error, PolicyError::Other(text) if text.contains("download.error_feedback = false")));
    Ok(())
}

#[test]
fn spoiled_messages_are_refused_both_ways() -> Result<(), PolicyError> {
    let mut federation = federation(&[]);
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
