//! A client with good credentials and bad intentions: each of its tries costs it its place in the round, and nobody else anything.

use std::time::Duration;

use futures_util::StreamExt;
use prost::Message;

use super::federation::{Deployed, broker_is_there};

/// What the server reads of a sign of life, written down once more: a client of somebody else's making.
#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(uint64, tag = "1")]
    session: u64,
    #[prost(string, tag = "2")]
    run: String,
    #[prost(message, optional, tag = "5")]
    done: Option<Done>,
}

#[derive(Clone, PartialEq, Message)]
struct Done {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    upload: Option<Transfer>,
}

#[derive(Clone, PartialEq, Message)]
struct Transfer {
    #[prost(bytes = "vec", tag = "1")]
    hash: Vec<u8>,
    #[prost(uint64, tag = "2")]
    length: u64,
    #[prost(bytes = "vec", tag = "3")]
    chunks: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Order {
    #[prost(string, tag = "1")]
    run: String,
    #[prost(message, optional, tag = "4")]
    ask: Option<Ask>,
}

#[derive(Clone, PartialEq, Message)]
struct Ask {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(uint32, tag = "2")]
    round: u32,
}

/// What the hostile client lays down in a round.
fn upload(round: u32, own: &[u8]) -> (Vec<u8>, Transfer) {
    let transfer = |bytes: &[u8]| Transfer {
        hash: blake3::hash(bytes).as_bytes().to_vec(),
        length: bytes.len() as u64,
        chunks: Vec::new(),
    };
    match round {
        // More than any update has.
        1 => (Vec::new(), Transfer { length: 1 << 50, ..transfer(b"") }),
        // Bytes that are not those announced.
        2 => (b"something".to_vec(), transfer(b"else")),
        // Bytes that are no frame.
        3 => (vec![0xa5; 4096], transfer(&[0xa5; 4096])),
        // The same once more.
        _ => (own.to_vec(), transfer(own)),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_client_costs_itself_its_place_and_nobody_else_anything() {
    if !broker_is_there() {
        return;
    }
    let set = ["link.min_clients=3", "link.stall_s=2.0", "link.silence_s=10.0"];
    let deployed = Deployed::new(&super::CLIENTS, &set);
    let mut server = deployed.server(&[]);
    deployed.waits_for_broker();
    let mut others: Vec<_> = super::CLIENTS[1..].iter().map(|client| deployed.client(client, &[])).collect();
    let credentials: toml::Table =
        toml::from_str(&std::fs::read_to_string(deployed.path("fed/gamma.creds")).unwrap()).unwrap();
    let text = |key: &str| credentials[key].as_str().unwrap().to_owned();
    let nats = async_nats::ConnectOptions::with_nkey(text("seed"))
        .add_root_certificates(deployed.path("fed/ca.pem"))
        .custom_inbox_prefix("_INBOX_gamma")
        .connect(format!("tls://{}", deployed.address()))
        .await
        .unwrap();
    let root = format!("cellm.{}", text("federation"));

    // What it has no right to: another's name, another's orders, the stream itself.
    for foreign in ["ctl.alpha", "up.alpha.x.0", "order.alpha"] {
        nats.publish(format!("{root}.{foreign}"), vec![1].into()).await.unwrap();
    }
    let mut spied = nats.subscribe(format!("{root}.>")).await.unwrap();
    let purge = async_nats::Request::new().timeout(Some(Duration::from_millis(500)));
    let purged = nats.send_request(format!("$JS.API.STREAM.PURGE.cellm_{}", text("federation")), purge).await;
    assert!(purged.is_err(), "a client may not empty the stream");

    let mut orders = nats.subscribe(format!("{root}.order.gamma")).await.unwrap();
    let say = async |status: Status| {
        nats.publish(format!("{root}.ctl.gamma"), status.encode_to_vec().into()).await.unwrap();
    };
    nats.publish(format!("{root}.ctl.gamma"), vec![0xff; 300].into()).await.unwrap();
    let mut run = String::new();
    let mut done = None;
    let mut own = Vec::new();
    let mut rounds = Vec::new();
    while rounds.last() != Some(&4) {
        say(Status { session: 1, run: run.clone(), done: done.clone() }).await;
        let order = tokio::time::timeout(Duration::from_millis(300), orders.next()).await;
        let Ok(Some(message)) = order else { continue };
        let order = Order::decode(message.payload).unwrap();
        run = order.run;
        let Some(ask) = order.ask else { continue };
        if rounds.last() == Some(&ask.round) {
            continue;
        }
        rounds.push(ask.round);
        let (bytes, transfer) = upload(ask.round, &own);
        let id: String = transfer.hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let request = async_nats::Request::new().payload(bytes.clone().into()).timeout(Some(Duration::from_secs(2)));
        drop(nats.send_request(format!("{root}.up.gamma.{id}.0"), request).await);
        own = bytes;
        done = Some(Done { id: ask.id, upload: Some(transfer) });
    }
    say(Status { session: 1, run, done }).await;
    cellm::pool::blocking("the look at the end", move || {
        server.ends_with(0);
        others.iter_mut().for_each(|client| client.ends_with(0));
        let rows = deployed.client_rows();
        for round in 1..=4 {
            let of = |name: &str| {
                rows.iter().find(|row| row["round"] == round && row["name"] == name).unwrap_or_else(|| panic!("{name}"))
            };
            for name in ["alpha", "beta"] {
                assert_eq!(of(name)["outcome"], "completed", "round {round}: {}", of(name));
            }
            let reason = of("gamma")["reason"].as_str().unwrap_or_default().to_owned();
            let expected = ["at most", "is not the one announced", "not a frame", "not a frame"][round as usize - 1];
            assert!(reason.contains(expected), "round {round}: {reason}");
        }
    })
    .await
    .unwrap();
    assert!(
        tokio::time::timeout(Duration::from_millis(100), spied.next()).await.map_or(true, |message| message.is_none())
    );
}
