//! Limits of a peer of the metrics endpoint: connections at a time, and seconds without an answer. A peer that opens
//! connections and sends nothing, or sends a byte at a time, holds up neither the scrapes nor the run's open files.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};

/// Connections at a time; further ones wait until one of them ends.
pub(super) const MAX_CONNECTIONS: usize = 32;

/// Longest life of a connection on which no byte of an answer goes out: for a request that does not end, an answer
/// that is not taken, or nothing at all.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// A listener that keeps to the limits.
pub(super) struct LimitedListener {
    listener: TcpListener,
    places: Arc<Semaphore>,
    silence: Duration,
}

impl LimitedListener {
    pub fn new(listener: TcpListener, connections: usize, silence: Duration) -> Self {
        Self { listener, places: Arc::new(Semaphore::new(connections)), silence }
    }
}

impl Listener for LimitedListener {
    type Io = TimedConnection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TimedConnection, SocketAddr) {
        // The semaphore is never closed; without a place the connection would only be one too many.
        let place = self.places.clone().acquire_owned().await.ok();
        let (stream, address) = Listener::accept(&mut self.listener).await;
        let watched =
            TimedConnection { stream, silence: self.silence, late: Box::pin(sleep(self.silence)), _place: place };
        (watched, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that ends when it has been silent for too long.
pub(super) struct TimedConnection {
    stream: TcpStream,
    silence: Duration,
    late: Pin<Box<Sleep>>,
    _place: Option<OwnedSemaphorePermit>,
}

impl TimedConnection {
    fn in_time(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.late.as_mut().poll(cx) {
            Poll::Ready(()) => Err(ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for TimedConnection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.in_time(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, to)
    }
}

impl AsyncWrite for TimedConnection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        self.in_time(cx)?;
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, from));
        let until = Instant::now() + self.silence;
        self.late.as_mut().reset(until);
        Poll::Ready(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::super::exporter::Exporter;
    use super::super::exporter::tests::get_path;
    use super::super::registry::tests::sample;
    use super::*;
    use crate::pool::{Task, blocking};

    /// An endpoint that takes two connections, each for a fifth of a second without an answer.
    async fn strict() -> (SocketAddr, Task<io::Result<()>>) {
        let exporter = Exporter::bind("127.0.0.1:0").await.unwrap();
        let address = exporter.address();
        let limits = (2, Duration::from_millis(200));
        let serving = exporter.serve_within(limits, Arc::new(sample()), std::future::pending());
        (address, Task::start("the metrics endpoint", serving))
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn silent_peers_give_their_places_up_and_the_scrapes_go_on() {
        let (address, _served) = strict().await;
        let silent: Vec<TcpStream> = (0..8).map(|_| TcpStream::connect(address).unwrap()).collect();
        // Behind four times two silent ones.
        assert!(get_path(address, "/healthz").await.ends_with("ok\n"));
        let ended = blocking("a peer", move || {
            let mut first = silent.into_iter().next().unwrap();
            first.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            first.read(&mut [0; 8]).map_or(0, |read| read)
        });
        assert_eq!(ended.await.unwrap(), 0);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_request_that_comes_a_letter_at_a_time_is_given_up() {
        let (address, _served) = strict().await;
        let dripped = blocking("a peer", move || {
            let mut stream = TcpStream::connect(address).unwrap();
            let mut sent = 0;
            while stream.write_all(b"G").is_ok() && sent < 1000 {
                sent += 1;
                std::thread::sleep(Duration::from_millis(20));
            }
            sent
        });
        assert!(dripped.await.unwrap() < 1000);
    }
}
