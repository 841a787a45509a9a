//! Clients that come rarely: what each has, what that costs, and that a lost update leaves both ends as they were.

use cellm_plugin::harness::{Adapter, Harness, Owner, Sent, spoiled};
use cellm_plugin::{PolicyError, bad_option};

use super::*;

fn harness(adapter: &Adapter) -> Harness<Unicast> {
    let mut harness = Harness::new(adapter, 2, &[]).unwrap();
    harness.density = 0.1;
    harness
}

/// One round with one client: what it is sent, and what it starts from.
fn visit(harness: &mut Harness<Unicast>, round: u32, client: u32, weights: &[f32]) -> (Option<Sent>, Vec<f32>) {
    let broadcast = harness.broadcast(round, weights).unwrap();
    let sent = harness.catch_up_message(round, client).unwrap();
    let received = harness.receive(client, &broadcast).unwrap();
    (sent, received)
}

fn distance(left: &[f32], right: &[f32]) -> f32 {
    left.iter().zip(right).map(|(left, right)| (left - right).powi(2)).sum::<f32>().sqrt()
}

#[test]
fn what_a_client_was_not_sent_comes_with_its_next_differences() {
    let adapter = Adapter::lora(4, &[(60, 40), (30, 50)]);
    let mut harness = harness(&adapter);
    let weights = adapter.weights(3, 1.0);
    let mut left = distance(&weights, &adapter.start);
    for round in 2..60 {
        // Others come in between; what they have is theirs.
        let client = round % 3;
        let (_, received) = visit(&mut harness, round, client, &weights);
        harness.end_round(round, &[client]);
        if client == 0 {
            let now = distance(&weights, &received);
            assert!(now < left, "{now} after {left} in round {round}");
            left = now;
        }
    }
    assert!(left < 0.2 * distance(&weights, &adapter.start));
}

#[test]
fn after_a_lost_update_both_ends_have_what_they_had() {
    let adapter = Adapter::lora(4, &[(60, 40)]);
    let mut harness = harness(&adapter);
    let weights = adapter.weights(3, 1.0);
    visit(&mut harness, 2, 7, &weights);
    harness.end_round(2, &[7]);
    let (lost, received) = visit(&mut harness, 3, 7, &weights);
    // The engine keeps what the server wrote for one client only with that client's update.
    harness.owners.roll_back(Owner::Server);
    harness.end_round(3, &[]);
    let (again, received_again) = visit(&mut harness, 4, 7, &weights);
    assert_eq!(received, received_again);
    assert_eq!(format!("{:?}", lost.unwrap().parts), format!("{:?}", again.unwrap().parts));
}

#[test]
fn nobody_in_particular_is_sent_everything() -> Result<(), PolicyError> {
    let adapter = Adapter::lora(4, &[(60, 40)]);
    let mut harness = harness(&adapter);
    let weights = adapter.weights(3, 1.0);
    assert_eq!(harness.shown(2, &weights)?, weights);
    Ok(())
}

#[test]
fn it_serves_downloads_of_weights_alone() {
    let adapter = Adapter::lora(4, &[(60, 40)]);
    let upload = harness(&adapter).upload(1, 0, &adapter.delta(1, 1.0)).map(|_| ());
    assert_eq!(upload, Err(bad_option("direction", "upload", "download")));
    let mut tracked = harness(&adapter);
    tracked.download = Content::Difference;
    let refused = tracked.broadcast(1, &adapter.start).map(|_| ());
    assert!(matches!(refused, Err(PolicyError::Other(what)) if what.contains("download.error_feedback = false")));
}

#[test]
fn hostile_messages_are_refused_or_read_within_bounds() {
    let adapter = Adapter::lora(4, &[(60, 40)]);
    let mut harness = harness(&adapter);
    let weights = adapter.weights(3, 1.0);
    let sent = visit(&mut harness, 2, 7, &weights).0.unwrap();
    for bad in spoiled(&sent) {
        // What a client takes is never more than what it was to be sent.
        match harness.take_catch_up(Owner::Client(7), &bad) {
            Ok(()) => assert!(harness.memory(Owner::Client(7)).vector(MOVED).is_some()),
            Err(error) => assert!(matches!(error, PolicyError::BadMessage(_)), "{error:?}"),
        }
    }
}
