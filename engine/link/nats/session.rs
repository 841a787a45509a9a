//! The connection to a broker: TLS with the federation's certificate, the key of whoever connects, reconnects of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_nats::rustls::pki_types::CertificateDer;
use async_nats::rustls::pki_types::pem::PemObject;
use async_nats::rustls::{ClientConfig, RootCertStore, crypto::ring};
use async_nats::{Client, ConnectErrorKind, ConnectOptions};
use rand_core::Rng;

use crate::link::LinkError;
use crate::random::unrepeatable;

/// The pause between two tries to connect.
const PAUSE: Duration = Duration::from_millis(250);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A participant and the broker that it connects to.
#[derive(Clone)]
pub(super) struct Access {
    /// Host and port, or a NATS URL.
    pub address: String,
    /// Seed of the key.
    pub seed: String,
    /// The certificate that the broker's is signed by, PEM.
    pub certificate: String,
    /// The name that the broker's log has.
    pub name: String,
    /// The prefix of inboxes, where rights ask for one.
    pub inbox: Option<String>,
    /// Set when the broker no longer takes the key.
    pub refused: Arc<AtomicBool>,
}

/// Connects, and tries for `patience_s` seconds where nobody listens yet.
///
/// # Errors
/// [`LinkError::Connect`] with the piece that fails: name, port, certificate, key.
pub(super) async fn connect(access: &Access, patience_s: f64) -> Result<Client, LinkError> {
    let address = &access.address;
    let failed = |reason: String, nobody| LinkError::Connect { address: address.clone(), reason, nobody };
    let url = if address.contains("://") { address.clone() } else { format!("tls://{address}") };
    let tls = tls(&access.certificate).map_err(|reason| failed(reason, false))?;
    let started = Instant::now();
    loop {
        let mut options = ConnectOptions::with_nkey(access.seed.clone())
            .name(&access.name)
            .tls_client_config(tls.clone())
            .connection_timeout(Duration::from_secs(5))
            .ping_interval(Duration::from_secs(5))
            .subscription_capacity(1 << 16)
            .reconnect_delay_callback(|tries| {
                LONGEST_PAUSE.min(PAUSE * u32::try_from(tries).unwrap_or(u32::MAX).min(4))
            });
        let refused = access.refused.clone();
        options = options.event_callback(move |event| {
            // A refused reconnect comes as a text.
            if event.to_string().contains("authorization violation") {
                refused.store(true, Ordering::Relaxed);
            }
            tracing::info!("link: {event}");
            std::future::ready(())
        });
        if let Some(inbox) = &access.inbox {
            options = options.custom_inbox_prefix(inbox);
        }
        let error = match options.connect(&url).await {
            Ok(client) => return Ok(client),
            Err(error) => error,
        };
        let nobody_there = matches!(error.kind(), ConnectErrorKind::Io | ConnectErrorKind::TimedOut);
        let reason = match error.kind() {
            ConnectErrorKind::Dns => format!("its name cannot be resolved ({error})"),
            ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => format!(
                "the key is not known there: it was revoked, or the credentials are of another federation ({error})"
            ),
            ConnectErrorKind::Tls => format!("its certificate is not this federation's, or not valid now ({error})"),
            _ => with_causes(&error),
        };
        // A certificate that does not verify comes as a failed read.
        let certificate = reason.contains("certificate") || reason.contains("UnknownIssuer");
        let nobody = nobody_there && !certificate;
        if !nobody || started.elapsed().as_secs_f64() > patience_s {
            return Err(failed(reason, nobody));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let said = inner.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = inner.source();
    }
    text
}

fn tls(certificate: &str) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes())
        .map_err(|error| format!("the federation's certificate cannot be read: {error}"))?;
    roots.add(certificate).map_err(|error| format!("the federation's certificate cannot be used: {error}"))?;
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| format!("TLS cannot be set up: {error}"))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// A new id of a run: letters and digits that no other run has.
///
/// # Errors
/// A system without randomness.
pub fn run_id() -> std::io::Result<String> {
    Ok(format!("{:016x}", unrepeatable()?.next_u64()))
}

/// A number that no other process has.
pub(super) fn session_number() -> std::io::Result<u64> {
    Ok(unrepeatable()?.next_u64().max(1))
}
