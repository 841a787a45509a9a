//! Ctrl-C, SIGTERM and SIGHUP: the first asks the run to stop durably, the second ends the process at once.

use tokio::sync::watch;

/// Exit code of a run that `--resume` can continue.
pub const INTERRUPTED: u8 = 5;

/// Waits for signals for as long as the process lives.
pub async fn watch_signals(stop: watch::Sender<bool>, say: impl Fn(&str)) {
    signal().await;
    // First of all: the terminal may be what has gone. Fails only when the run is already over.
    let _ = stop.send(true);
    say("stopping after what is under way is durable; once more to abort at once");
    signal().await;
    // The journal is durable at every point, so nothing that was committed is lost.
    std::process::exit(i32::from(INTERRUPTED));
}

#[cfg(unix)]
async fn signal() {
    use tokio::signal::unix::SignalKind;
    tokio::select! {
        () = interrupt() => {}
        () = of_kind(SignalKind::terminate()) => {}
        () = hangup() => {}
    }
}

/// Not where whoever started the process wants it to outlive its terminal, as `nohup` does.
#[cfg(unix)]
async fn hangup() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if ignores_hangup(&status) {
        std::future::pending::<()>().await;
    }
    of_kind(tokio::signal::unix::SignalKind::hangup()).await;
}

/// True where the ignored signals in a process's status (`SigIgn`, a hexadecimal mask) include SIGHUP: the lowest
/// bit.
#[cfg(unix)]
fn ignores_hangup(status: &str) -> bool {
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

/// Waits for ever where the system has no such signal to give.
#[cfg(unix)]
async fn of_kind(kind: tokio::signal::unix::SignalKind) {
    match tokio::signal::unix::signal(kind) {
        Ok(mut signals) => drop(signals.recv().await),
        Err(_) => std::future::pending().await,
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

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_ignores_hangups_says_so_in_its_status() {
        assert!(ignores_hangup("Name:\tcellm\nSigIgn:\t0000000000001001\n"));
        assert!(!ignores_hangup("SigIgn:\t0000000000001000\n") && !ignores_hangup(""));
    }
}
