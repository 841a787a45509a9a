//! Logs: every event as a JSON line in the run directory, warnings for people on stderr.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Mutex;

use indicatif::ProgressBar;
use tracing_subscriber::filter::{EnvFilter, LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use super::args::Voice;
use super::{Failure, progress};

/// The variable that sets what `log.jsonl` holds, in the syntax of `tracing` filters; `info` without it.
const VARIABLE: &str = "CELLM_LOG";

/// Starts logging: `log.jsonl` in `run_dir` (appended to when resumed), stderr above `bar`.
///
/// # Errors
/// A log file that cannot be opened.
pub fn start(run_dir: &Path, voice: Voice, bar: &ProgressBar) -> Result<(), Failure> {
    let path = run_dir.join("log.jsonl");
    let file = OpenOptions::new().create(true).append(true).open(&path);
    let file = file.map_err(|error| Failure::file("open", &path, error))?;
    let filter =
        EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).with_env_var(VARIABLE).from_env_lossy();
    let json = fmt::layer().json().flatten_event(true).with_writer(Mutex::new(file)).with_filter(filter);
    let level = match (voice.quiet, voice.verbose) {
        (true, _) => LevelFilter::ERROR,
        (_, 0) => LevelFilter::WARN,
        (_, 1) => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    };
    let human =
        fmt::layer().without_time().with_target(false).with_ansi(bar_is_shown(bar)).with_writer(AboveBar(bar.clone()));
    let heard = Targets::new().with_default(level).with_target(progress::LOG, LevelFilter::OFF);
    // A second start in one process (as in tests) keeps the first subscriber.
    let _ = tracing_subscriber::registry().with(json).with(human.with_filter(heard)).try_init();
    Ok(())
}

fn bar_is_shown(bar: &ProgressBar) -> bool {
    !bar.is_hidden()
}

/// Writes to stderr without tearing the progress bar.
struct AboveBar(ProgressBar);

impl<'a> MakeWriter<'a> for AboveBar {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(&self.0)
    }
}

struct Line<'a>(&'a ProgressBar);

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write_all(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
