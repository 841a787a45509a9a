//! Chunks: bytes as messages of one stream, each under a subject of its own. Writing one twice changes nothing, and what is
//! missing after a broken connection is asked for or sent again, nothing else.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_nats::{Client, Request, StatusCode};
use futures_util::{StreamExt, TryStreamExt, stream};
use prost::Message;
use serde::Deserialize;

use super::subjects::Subjects;
use crate::link::LinkError;

/// Bytes of a chunk.
pub const CHUNK: usize = 512 << 10;
/// Chunks under way at the same time.
const WINDOW: usize = 32;
/// The time in which the broker answers, or is asked again.
const PATIENCE: Duration = Duration::from_secs(2);
/// The wait before a chunk that was not there, or not taken, is tried again.
const PAUSE: Duration = Duration::from_millis(100);
/// The broker's code for a subject that has its one message.
const HAS_IT: u64 = 10_077;

/// The announcement of a transfer.
#[derive(Clone, PartialEq, Message)]
pub struct Transfer {
    /// BLAKE3 of the only chunk, else of the hashes of all chunks.
    #[prost(bytes = "vec", tag = "1")]
    pub hash: Vec<u8>,
    /// Bytes.
    #[prost(uint64, tag = "2")]
    pub length: u64,
    /// BLAKE3 of each chunk, one after the other; empty where there is only one.
    #[prost(bytes = "vec", tag = "3")]
    pub chunks: Vec<u8>,
}

impl Transfer {
    /// The announcement of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let chunks: Vec<u8> = match bytes.len() {
            0..=CHUNK => Vec::new(),
            _ => bytes.chunks(CHUNK).flat_map(|chunk| *blake3::hash(chunk).as_bytes()).collect(),
        };
        let hashed = if chunks.is_empty() { bytes } else { &chunks };
        Self { hash: blake3::hash(hashed).as_bytes().to_vec(), length: bytes.len() as u64, chunks }
    }

    /// The word that its chunks have in their subjects.
    pub fn id(&self) -> String {
        self.hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Checks an announcement of others before anything is made for it.
    ///
    /// # Errors
    /// [`LinkError::TooLong`], or [`LinkError::Message`] where it is not whole.
    pub fn check(&self, from: &str, limit: u64) -> Result<(), LinkError> {
        if self.length > limit {
            return Err(LinkError::TooLong { found: self.length, limit });
        }
        let count = self.count();
        let hashes = if count == 1 { 0 } else { 32 * count };
        let whole = count == 1 || blake3::hash(&self.chunks).as_bytes()[..] == self.hash[..];
        if self.hash.len() == 32 && self.chunks.len() == hashes && whole {
            return Ok(());
        }
        let reason = format!(
            "a transfer of {} bytes with {} bytes of hashes, {} expected",
            self.length,
            self.hash.len() + self.chunks.len(),
            32 + hashes
        );
        Err(LinkError::Message { from: from.into(), reason })
    }

    fn count(&self) -> usize {
        (self.length as usize).div_ceil(CHUNK).max(1)
    }

    fn expected(&self, chunk: usize) -> &[u8] {
        if self.chunks.is_empty() { &self.hash } else { &self.chunks[32 * chunk..32 * chunk + 32] }
    }
}

/// A sum of what crossed beside the bytes of frames, and a sign of progress.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Bytes of all transfers so far: it moves while anything does.
    pub progress: AtomicU64,
    /// Bytes sent beside those of frames: subjects, orders, chunks that were sent again.
    pub sent: AtomicU64,
    /// Bytes received beside those of frames.
    pub received: AtomicU64,
}

/// One side's access to the stream.
#[derive(Clone)]
pub struct Chunks {
    /// The connection.
    pub nats: Client,
    /// The federation's subjects.
    pub subjects: Subjects,
    /// Seconds without a byte before a transfer is given up.
    pub stall_s: f64,
}

/// The broker's answer to a published message.
#[derive(Deserialize)]
struct Taken {
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    err_code: u64,
    description: String,
}

impl Chunks {
    /// Writes bytes under `prefix`. Done when the broker has all of them.
    ///
    /// # Errors
    /// [`LinkError::Stalled`], or the broker's refusal.
    pub async fn put(&self, prefix: &str, bytes: Vec<u8>, traffic: &Traffic) -> Result<(), LinkError> {
        let bytes = bytes::Bytes::from(bytes);
        let count = bytes.len().div_ceil(CHUNK).max(1);
        let put = |chunk: usize| {
            let piece = bytes.slice(chunk * CHUNK..bytes.len().min((chunk + 1) * CHUNK));
            self.put_one(format!("{prefix}.{chunk}"), piece, traffic)
        };
        stream::iter(0..count).map(put).buffer_unordered(WINDOW).try_collect().await
    }

    async fn put_one(&self, subject: String, piece: bytes::Bytes, traffic: &Traffic) -> Result<(), LinkError> {
        let mut clock = Clock::new(traffic, self.stall_s);
        let mut again = false;
        loop {
            let repeated = if again { piece.len() } else { 0 };
            traffic.sent.fetch_add((subject.len() + repeated) as u64, Ordering::Relaxed);
            again = true;
            let request = Request::new().payload(piece.clone()).timeout(Some(PATIENCE));
            if let Ok(answer) = self.nats.send_request(subject.clone(), request).await {
                traffic.received.fetch_add(answer.payload.len() as u64, Ordering::Relaxed);
                match serde_json::from_slice::<Taken>(&answer.payload) {
                    Ok(Taken { error: None }) => break,
                    Ok(Taken { error: Some(Refusal { err_code: HAS_IT, .. }) }) => break,
                    Ok(Taken { error: Some(refusal) }) => {
                        tracing::debug!("a chunk was refused: {}", refusal.description)
                    }
                    Err(_) => {}
                }
            }
            clock.wait().await?;
        }
        traffic.progress.fetch_add(piece.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Reads a transfer under `prefix`, which was checked.
    ///
    /// # Errors
    /// [`LinkError::Stalled`] where it never gets there, [`LinkError::Damaged`] where it is not what was announced.
    pub async fn get(&self, prefix: &str, transfer: &Transfer, traffic: &Traffic) -> Result<Vec<u8>, LinkError> {
        let get = |chunk: usize| self.get_one(format!("{prefix}.{chunk}"), chunk, transfer, traffic);
        let mut pieces = stream::iter(0..transfer.count()).map(get).buffered(WINDOW);
        let mut bytes = Vec::with_capacity(transfer.length as usize);
        while let Some(piece) = pieces.next().await {
            bytes.extend_from_slice(&piece?);
        }
        // Each chunk is the one announced; together they have to have the length that was.
        if bytes.len() as u64 != transfer.length {
            let (found, limit) = (bytes.len() as u64, transfer.length);
            return Err(LinkError::TooLong { found, limit });
        }
        Ok(bytes)
    }

    async fn get_one(
        &self,
        subject: String,
        chunk: usize,
        transfer: &Transfer,
        traffic: &Traffic,
    ) -> Result<bytes::Bytes, LinkError> {
        let mut clock = Clock::new(traffic, self.stall_s);
        let fetch = self.subjects.fetch(&subject);
        loop {
            traffic.sent.fetch_add(fetch.len() as u64, Ordering::Relaxed);
            let request = Request::new().timeout(Some(PATIENCE));
            let found = self.nats.send_request(fetch.clone(), request).await.ok();
            // A message that is not there is an answer with a status.
            if let Some(found) = found.filter(|found| found.status.is_none_or(|status| status == StatusCode::OK)) {
                let hash = blake3::hash(&found.payload);
                if hash.as_bytes()[..] != *transfer.expected(chunk) {
                    let (found, hash) = (found.payload.len(), hash.to_hex().to_string());
                    return Err(LinkError::Damaged { chunk, found, hash, expected: hex(transfer.expected(chunk)) });
                }
                traffic.progress.fetch_add(found.payload.len() as u64, Ordering::Relaxed);
                return Ok(found.payload);
            }
            clock.wait().await?;
        }
    }
}

/// The patience with one chunk: it ends when nothing of the whole side moves.
struct Clock<'a> {
    traffic: &'a Traffic,
    stall_s: f64,
    seen: u64,
    since: Instant,
}

impl<'a> Clock<'a> {
    fn new(traffic: &'a Traffic, stall_s: f64) -> Self {
        Self { traffic, stall_s, seen: traffic.progress.load(Ordering::Relaxed), since: Instant::now() }
    }

    async fn wait(&mut self) -> Result<(), LinkError> {
        let now = self.traffic.progress.load(Ordering::Relaxed);
        if now != self.seen {
            (self.seen, self.since) = (now, Instant::now());
        }
        if self.since.elapsed().as_secs_f64() > self.stall_s {
            return Err(LinkError::Stalled(self.stall_s));
        }
        tokio::time::sleep(PAUSE).await;
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announcement_is_checked_before_anything_is_made_for_it() {
        let small = Transfer::of(b"abc");
        assert!(small.check("a", 3).is_ok() && small.chunks.is_empty());
        assert_eq!(small.check("a", 2).unwrap_err().to_string(), "a transfer of 3 bytes, at most 2 allowed");
        let large = Transfer::of(&vec![1; CHUNK + 1]);
        assert_eq!((large.count(), large.chunks.len()), (2, 64));
        assert!(large.check("a", u64::MAX).is_ok());
        let lying = Transfer { length: 1 << 60, ..large.clone() };
        assert!(lying.check("a", u64::MAX).unwrap_err().to_string().contains("a message of a"));
        assert!(Transfer { hash: vec![0; 31], ..small }.check("a", 9).is_err());
    }
}
