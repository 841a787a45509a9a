//! The endpoint: an address in, `/metrics` and `/healthz` out, until told to stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use super::connection_limits::{IDLE_TIMEOUT, LimitedListener, MAX_CONNECTIONS};
use super::{Metrics, MetricsError};

/// A bound endpoint that does not serve yet.
#[derive(Debug)]
pub struct Exporter {
    listener: TcpListener,
    address: SocketAddr,
}

impl Exporter {
    /// Listens on `host:port`, a name or an address; port 0 takes a free one.
    ///
    /// # Errors
    /// [`MetricsError::Bind`] with the address.
    pub async fn bind(listen: &str) -> Result<Self, MetricsError> {
        let failed = |source| MetricsError::Bind { listen: listen.into(), source };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// The address that it listens on, with the port that the system chose where 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop` is ready, then until the requests in progress are answered. A peer that holds its connection
    /// open can delay the end: give it a deadline. No more than `MAX_CONNECTIONS` are open at a time, none for longer than
    /// `IDLE_TIMEOUT` without an answer.
    ///
    /// # Errors
    /// The listener's error.
    pub async fn serve(
        self,
        metrics: Arc<Metrics>,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        self.serve_within((MAX_CONNECTIONS, IDLE_TIMEOUT), metrics, stop).await
    }

    /// As [`Self::serve`], with so many connections and so long a silence.
    pub(super) async fn serve_within(
        self,
        (connections, silence): (usize, Duration),
        metrics: Arc<Metrics>,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        let listener = LimitedListener::new(self.listener, connections, silence);
        axum::serve(listener, app(metrics)).with_graceful_shutdown(stop).await
    }
}

fn app(metrics: Arc<Metrics>) -> Router {
    Router::new().route("/metrics", get(scrape)).route("/healthz", get("ok\n")).with_state(metrics)
}

async fn scrape(State(metrics): State<Arc<Metrics>>) -> Response {
    match metrics.render() {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use tokio::sync::oneshot;

    use super::super::registry::tests::sample;
    use super::*;
    use crate::pool::{Task, blocking};

    pub(crate) async fn get_path(address: SocketAddr, path: &'static str) -> String {
        let get = move || {
            let mut stream = TcpStream::connect(address)?;
            stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: cellm\r\nConnection: close\r\n\r\n").as_bytes())?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).map(|_| answer)
        };
        blocking("a request", get).await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn metrics_and_health_are_served_until_told_to_stop() {
        let exporter = Exporter::bind("127.0.0.1:0").await.unwrap();
        let address = exporter.address();
        assert_ne!(address.port(), 0);
        let (stop, stopped) = oneshot::channel::<()>();
        let served = Task::start("serving", exporter.serve(Arc::new(sample()), async { stopped.await.unwrap() }));
        let answer = get_path(address, "/metrics").await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("text/plain; version=0.0.4"), "{answer}");
        assert!(answer.contains("cellm_rounds_total 1"), "{answer}");
        assert!(get_path(address, "/healthz").await.ends_with("ok\n"));
        assert!(get_path(address, "/other").await.starts_with("HTTP/1.1 404"));
        stop.send(()).unwrap();
        served.ended().await.unwrap().unwrap();
        assert!(TcpStream::connect(address).is_err());
    }

    #[tokio::test]
    async fn an_address_in_use_or_malformed_is_named() {
        let taken = Exporter::bind("127.0.0.1:0").await.unwrap();
        let listen = taken.address().to_string();
        let error = Exporter::bind(&listen).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot serve metrics on `{listen}` (metrics.listen): ")), "{error}");
        let error = Exporter::bind("nonsense").await.unwrap_err().to_string();
        assert!(error.contains("`nonsense`"), "{error}");
        let named = Exporter::bind("localhost:0").await.unwrap();
        assert!(named.address().ip().is_loopback());
    }
}
