//! Ctrl-C and SIGTERM: the first asks the run to stop durably, the second ends the process at once.

use tokio::sync::watch;

/// Exit code of a run that `--resume` can continue.
pub const INTERRUPTED: u8 = 5;

/// Waits for signals for as long as the process lives.
pub async fn watch_signals(stop: watch::Sender<bool>, say: impl Fn(&str)) {
    signal().await;
    say("stopping after what is under way is durable; once more to abort at once");
    // Fails only when the run is already over.
    let _ = stop.send(true);
    signal().await;
    // The journal is durable at every point, so nothing that was committed is lost.
    std::process::exit(i32::from(INTERRUPTED));
}

#[cfg(unix)]
async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                () = interrupt() => {}
                _ = terminate.recv() => {}
            }
        }
        Err(_) => interrupt().await,
    }
}

#[cfg(not(unix))]
async fn signal() {
    interrupt().await;
}

async fn interrupt() {
    if tokio::signal::ctrl_c().await.is_err() {
        // Without a handler the system's default ends the process, which is what ctrl-C then means.
        std::future::pending::<()>().await;
    }
}
