//! The messages between server and clients beside the chunks, as protobuf. Both sides say what is so, again and again, until
//! the other says that it knows: an order that is lost or comes twice changes nothing.

use prost::Message;

use super::chunks::Transfer;
use crate::link::LinkError;

/// Bytes of such a message, at most: what NATS carries by default.
const LONGEST: usize = 1 << 20;
/// Bytes of a name or a reason in one, at most.
const LONGEST_TEXT: usize = 4096;

/// An order of the server to one client.
#[derive(Clone, PartialEq, Message)]
pub struct Order {
    /// The run.
    #[prost(string, tag = "1")]
    pub run: String,
    /// The session that it is for; 0 for any.
    #[prost(uint64, tag = "2")]
    pub session: u64,
    /// The client's number.
    #[prost(uint32, tag = "7")]
    pub client: u32,
    /// The order itself.
    #[prost(oneof = "What", tags = "3, 4, 5, 6")]
    pub what: Option<What>,
}

/// The kinds of orders.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum What {
    /// Everything that a client must agree with before it takes part, as JSON.
    #[prost(string, tag = "3")]
    Manifest(String),
    /// Take part in a round.
    #[prost(message, tag = "4")]
    Ask(Ask),
    /// Give up an assignment.
    #[prost(bytes = "vec", tag = "5")]
    Forget(Vec<u8>),
    /// Leave: the run is over, or the reason why this process is not wanted.
    #[prost(message, tag = "6")]
    End(End),
}

/// An assignment.
#[derive(Clone, PartialEq, Message)]
pub struct Ask {
    /// Its id: the same for the same work.
    #[prost(bytes = "vec", tag = "1")]
    pub id: Vec<u8>,
    /// The round.
    #[prost(uint32, tag = "2")]
    pub round: u32,
    /// The client's number.
    #[prost(uint32, tag = "3")]
    pub client: u32,
    /// Its tier.
    #[prost(uint32, tag = "4")]
    pub tier: u32,
    /// The last round whose update of this client was accepted.
    #[prost(uint32, optional, tag = "5")]
    pub last_seen: Option<u32>,
    /// The broadcast.
    #[prost(message, optional, tag = "6")]
    pub broadcast: Option<Transfer>,
    /// The frames that bring the client up to date.
    #[prost(message, repeated, tag = "7")]
    pub catch_up: Vec<Transfer>,
}

/// The end of a client's part.
#[derive(Clone, PartialEq, Message)]
pub struct End {
    /// The reason why this process is not wanted; empty where the run is over.
    #[prost(string, tag = "1")]
    pub reason: String,
}

/// A client's sign of life.
#[derive(Clone, PartialEq, Message)]
pub struct Status {
    /// A number of this process.
    #[prost(uint64, tag = "1")]
    pub session: u64,
    /// The run whose manifest it agrees with; empty before it does.
    #[prost(string, tag = "2")]
    pub run: String,
    /// Counts up with every byte that it gets or gives.
    #[prost(uint64, tag = "3")]
    pub progress: u64,
    /// Its phase.
    #[prost(oneof = "Phase", tags = "4, 5, 6, 7")]
    pub phase: Option<Phase>,
}

/// The phases of a client; none where it waits.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Phase {
    /// It works on an assignment.
    #[prost(message, tag = "4")]
    Working(Working),
    /// Its update lies at the broker.
    #[prost(message, tag = "5")]
    Done(Done),
    /// It could not do an assignment.
    #[prost(message, tag = "6")]
    Failed(Failed),
    /// It does not take part: what differs from the manifest.
    #[prost(string, tag = "7")]
    Refused(String),
}

/// Work under way.
#[derive(Clone, PartialEq, Message)]
pub struct Working {
    /// The assignment.
    #[prost(bytes = "vec", tag = "1")]
    pub id: Vec<u8>,
    /// Seconds of its own work so far.
    #[prost(double, tag = "2")]
    pub seconds: f64,
}

/// Work done.
#[derive(Clone, PartialEq, Message)]
pub struct Done {
    /// The assignment.
    #[prost(bytes = "vec", tag = "1")]
    pub id: Vec<u8>,
    /// The upload.
    #[prost(message, optional, tag = "2")]
    pub upload: Option<Transfer>,
    /// Local steps.
    #[prost(uint32, tag = "3")]
    pub steps: u32,
    /// Seconds of its own work.
    #[prost(double, tag = "4")]
    pub seconds: f64,
}

/// Work that failed.
#[derive(Clone, PartialEq, Message)]
pub struct Failed {
    /// The assignment.
    #[prost(bytes = "vec", tag = "1")]
    pub id: Vec<u8>,
    /// The client's reason.
    #[prost(string, tag = "2")]
    pub reason: String,
}

/// Reads a message of `from`, of bounded size.
///
/// # Errors
/// [`LinkError::Message`] for bytes that are too many or are no such message.
pub fn read<T: Message + Default>(from: &str, bytes: &[u8]) -> Result<T, LinkError> {
    let wrong = |reason: String| LinkError::Message { from: from.into(), reason };
    if bytes.len() > LONGEST {
        return Err(wrong(format!("{} bytes, at most {LONGEST} allowed", bytes.len())));
    }
    T::decode(bytes).map_err(|error| wrong(error.to_string()))
}

/// A text of another's, cut to what is worth repeating.
pub fn cut(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(LONGEST_TEXT / 4).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_back_and_other_bytes_are_refused_with_their_sender() {
        let order = Order {
            run: "r".into(),
            session: 7,
            client: 1,
            what: Some(What::Ask(Ask { id: vec![1, 2], round: 3, last_seen: Some(0), ..Ask::default() })),
        };
        assert_eq!(read::<Order>("server", &order.encode_to_vec()).unwrap(), order);
        let error = read::<Status>("a", &[0xff; 9]).unwrap_err().to_string();
        assert!(error.starts_with("a message of a cannot be read"), "{error}");
        assert!(read::<Status>("a", &vec![0; LONGEST + 1]).is_err());
    }

    #[test]
    fn what_a_client_says_is_cut_and_has_no_control_characters() {
        let said = cut(&format!("a\u{1b}[31m\n{}", "b".repeat(10_000)));
        assert!(said.starts_with("a[31mb") && said.len() == LONGEST_TEXT / 4);
    }
}
