//! Deployed federations: a real nats-server, server and clients as processes of their own. Where there is no nats-server, every test
//! says so and passes.

mod federation;
mod hostile;

use std::thread::sleep;
use std::time::{Duration, Instant};

use federation::{Deployed, broker_is_there, simulated};

/// The clients of all tests, not in the order of their names.
const CLIENTS: [&str; 3] = ["gamma", "alpha", "beta"];

/// A run with memory on both sides: a residual at each client, a reference at everybody.
const REMEMBERING: [&str; 3] = ["upload.policy=topk-ef", "upload.error_feedback=true", "download.error_feedback=true"];

/// Rounds enough that a run is not over before the last kill, however fast the machine.
const LONG: &str = "run.rounds=24";

#[test]
fn a_deployed_federation_ends_with_the_adapter_of_the_simulated_one() {
    if !broker_is_there() {
        return;
    }
    let partly = [&REMEMBERING[..], &["server.cohort=2"]].concat();
    let tiers = ["client.tiers=[{ share = 0.5, density = 0.5 }, { share = 0.5 }]"];
    let unicast = ["download.policy=unicast", "download.bits=4", "server.cohort=2"];
    let ecolora = ["upload.policy=ecolora", "download.policy=ecolora"];
    let settings: [(&str, &[&str]); 5] = [
        ("flasc", &[]),
        ("topk-ef with errors kept both ways", &partly),
        ("unicast", &unicast),
        ("ecolora", &ecolora),
        ("tiers", &tiers),
    ];
    for (name, set) in settings {
        let deployed = Deployed::new(&CLIENTS, set);
        let mut server = deployed.server(&[]);
        let mut clients: Vec<_> = CLIENTS.iter().map(|client| deployed.client(client, &[])).collect();
        server.ends_with(0);
        clients.iter_mut().for_each(|client| client.ends_with(0));
        assert_eq!(deployed.adapter_hash(), simulated(&deployed, set), "{name}");
    }
}

#[test]
fn a_server_that_is_killed_in_any_phase_goes_on_and_nobody_else_is_restarted() {
    if !broker_is_there() {
        return;
    }
    let set = [&REMEMBERING[..], &[LONG]].concat();
    let deployed = Deployed::new(&CLIENTS, &set);
    let mut clients: Vec<_> = CLIENTS.iter().map(|client| deployed.client(client, &[])).collect();
    let mut server = deployed.server(&[]);
    for delay_ms in [0, 90, 250, 20, 400] {
        server.waits_for("3 of 3 clients are there");
        sleep(Duration::from_millis(delay_ms));
        server.kill();
        let killed = Instant::now();
        server = deployed.server(&["--resume"]);
        server.waits_for("3 of 3 clients are there");
        let back = killed.elapsed();
        assert!(back < Duration::from_secs(20), "the server was back at work after {back:?}");
    }
    server.ends_with(0);
    clients.iter_mut().for_each(|client| client.ends_with(0));
    assert_eq!(deployed.adapter_hash(), simulated(&deployed, &set));
}

#[test]
fn a_client_that_is_killed_comes_back_as_the_same_client() {
    if !broker_is_there() {
        return;
    }
    let patient = [&REMEMBERING[..], &["link.silence_s=60.0", LONG]].concat();
    let deployed = Deployed::new(&CLIENTS, &patient);
    let mut server = deployed.server(&[]);
    let mut others: Vec<_> = CLIENTS[1..].iter().map(|client| deployed.client(client, &[])).collect();
    let mut killed = deployed.client(CLIENTS[0], &[]);
    for (round, delay_ms) in [(1, 0), (2, 60), (3, 150)] {
        server.waits_for(&format!(" {round}/24"));
        sleep(Duration::from_millis(delay_ms));
        killed.kill();
        killed = deployed.client(CLIENTS[0], &[]);
    }
    server.ends_with(0);
    killed.ends_with(0);
    others.iter_mut().for_each(|client| client.ends_with(0));
    assert_eq!(deployed.adapter_hash(), simulated(&deployed, &patient));
}

#[test]
fn a_broker_that_is_killed_loses_nothing() {
    if !broker_is_there() {
        return;
    }
    let patient = [&REMEMBERING[..], &["link.silence_s=60.0", LONG]].concat();
    let deployed = Deployed::new(&CLIENTS, &patient);
    let mut server = deployed.server(&[]);
    let mut clients: Vec<_> = CLIENTS.iter().map(|client| deployed.client(client, &["link.silence_s=60.0"])).collect();
    for (round, delay_ms) in [(1, 30), (2, 120)] {
        server.waits_for(&format!(" {round}/24"));
        sleep(Duration::from_millis(delay_ms));
        deployed.kill_broker();
    }
    server.ends_with(0);
    clients.iter_mut().for_each(|client| client.ends_with(0));
    assert_eq!(deployed.adapter_hash(), simulated(&deployed, &patient));
}

#[test]
fn a_client_that_is_gone_costs_a_round_its_silence_and_no_more() {
    if !broker_is_there() {
        return;
    }
    let deployed = Deployed::new(&CLIENTS, &["link.silence_s=2.0"]);
    let mut server = deployed.server(&[]);
    let mut others: Vec<_> = CLIENTS[1..].iter().map(|client| deployed.client(client, &[])).collect();
    let mut gone = deployed.client(CLIENTS[0], &[]);
    server.waits_for("round 1/4");
    gone.kill();
    let killed = Instant::now();
    server.waits_for("round 2/4");
    server.waits_for("round 3/4");
    let took = killed.elapsed();
    server.ends_with(0);
    others.iter_mut().for_each(|client| client.ends_with(0));
    let rows = deployed.client_rows();
    let dropped: Vec<&str> = rows
        .iter()
        .filter(|row| row["name"] == "gamma" && row["outcome"] == "dropped")
        .filter_map(|row| row["reason"].as_str())
        .collect();
    assert!(
        dropped.len() >= 2 && dropped.iter().all(|reason| reason.contains("no sign of life for 2 s")),
        "{dropped:?}"
    );
    assert!(took < Duration::from_secs(30), "two rounds took {took:?}");
}

#[test]
fn a_client_that_differs_says_in_what_with_both_values_and_does_not_train() {
    if !broker_is_there() {
        return;
    }
    let deployed = Deployed::new(&CLIENTS, &["link.min_clients=2", "server.cohort=2", "run.rounds=1", "run.seed=4"]);
    let mut server = deployed.server(&[]);
    let mut differing = deployed.client("gamma", &["lora.rank=3"]);
    differing.ends_with(6);
    assert!(differing.said().contains("lora.rank is 3 here and 8 at the server"), "{}", differing.said());
    let mut without_data = deployed.client_with("gamma", &[]);
    without_data.ends_with(2);
    assert!(without_data.said().contains("data.path is not set"), "{}", without_data.said());
    let mut others: Vec<_> = CLIENTS[1..].iter().map(|client| deployed.client(client, &[])).collect();
    server.ends_with(0);
    others.iter_mut().for_each(|client| client.ends_with(0));
    assert!(server.said().contains("gamma does not take part: "), "{}", server.said());
}

#[test]
fn what_is_wrong_with_the_link_is_named_and_ends_with_6() {
    if !broker_is_there() {
        return;
    }
    let (deployed, other) = (Deployed::new(&CLIENTS, &[]), Deployed::new(&["alpha"], &[]));
    // Nobody listens.
    let mut early = deployed.client("alpha", &["link.stall_s=0.2", "link.url=127.0.0.1:1"]);
    early.ends_with(6);
    assert!(early.said().contains("no link to the broker at 127.0.0.1:1"), "{}", early.said());
    let _server = deployed.server(&[]);
    deployed.waits_for_broker();
    // Another federation's certificate and key.
    let there = format!("link.url={}", deployed.address());
    let mut stranger = other.client("alpha", &[&there, "link.stall_s=0.2"]);
    stranger.ends_with(6);
    assert!(stranger.said().contains("certificate"), "{}", stranger.said());
    // A client that has lost its rights.
    deployed.enroll(&["revoke", "beta"]);
    sleep(Duration::from_secs(3));
    let mut revoked = deployed.client("beta", &["link.stall_s=0.2"]);
    revoked.ends_with(6);
    assert!(revoked.said().contains("revoked"), "{}", revoked.said());
    // One that is connected when it loses them.
    let mut connected = deployed.client("gamma", &[]);
    connected.waits_for("is connected");
    deployed.enroll(&["revoke", "gamma"]);
    connected.ends_with(6);
    assert!(connected.said().contains("revoked"), "{}", connected.said());
    // Two processes of one client: the later one is wanted.
    let mut first = deployed.client("alpha", &[]);
    first.waits_for("is connected");
    sleep(Duration::from_secs(2));
    let mut second = deployed.client_in("alpha", "elsewhere", &[]);
    first.ends_with(6);
    assert!(first.said().contains("another process"), "{}", first.said());
    second.kill();
}
