//! Logs: every event as a JSON line in the run directory, warnings for people on stderr.

use std::fmt::Debug;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Mutex;

use indicatif::ProgressBar;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::{EnvFilter, LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::debug_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use super::args::Verbosity;
use super::{Failure, progress, visible};

/// The variable that sets what `log.jsonl` holds, in the syntax of `tracing` filters; `info` without it.
const VARIABLE: &str = "CELLM_LOG";

/// Starts logging: `log.jsonl` in `run_dir` (appended to when resumed), stderr above `bar`.
///
/// # Errors
/// A log file that cannot be opened.
pub fn start(run_dir: &Path, verbosity: Verbosity, bar: &ProgressBar) -> Result<(), Failure> {
    let path = run_dir.join("log.jsonl");
    let file = OpenOptions::new().create(true).append(true).open(&path);
    let file = file.map_err(|error| Failure::file("open", &path, error))?;
    let filter =
        EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).with_env_var(VARIABLE).from_env_lossy();
    let json = fmt::layer().json().flatten_event(true).with_writer(Mutex::new(EscapedFile(file))).with_filter(filter);
    let level = match (verbosity.quiet, verbosity.verbose) {
        (true, _) => LevelFilter::ERROR,
        (_, 0) => LevelFilter::WARN,
        (_, 1) => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    };
    let fields = debug_fn(|to, field, value| write!(to, "{}", field_text(field.name(), value))).delimited(" ");
    let human = fmt::layer()
        .without_time()
        .with_target(false)
        .with_ansi(bar_is_shown(bar))
        .fmt_fields(fields)
        .with_writer(AboveBar(bar.clone()));
    let heard = Targets::new().with_default(level).with_target(progress::LOG, LevelFilter::OFF);
    // A second start in one process (as in tests) keeps the first subscriber.
    let _ = tracing_subscriber::registry().with(json).with(human.with_filter(heard)).try_init();
    Ok(())
}

/// A field as people read it; what policies, clients and models said in it moves no cursor and begins no line.
fn field_text(name: &str, value: &dyn Debug) -> String {
    let text = if name == "message" { format!("{value:?}") } else { format!("{name}={value:?}") };
    visible::line(&text).into_owned()
}

/// A log file whose lines can be shown on a terminal. JSON escapes most control characters itself, but not all.
struct EscapedFile(File);

impl Write for EscapedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // The layer writes whole lines, and they are Unicode.
        self.0.write_all(visible::lines(&String::from_utf8_lossy(bytes)).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
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
        // A terminal that went away hears nothing; the log file has it all.
        self.0.suspend(|| drop(io::stderr().write_all(bytes)));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One event, as the layer for files and the layer for stderr write it.
    #[test]
    fn what_others_say_reaches_no_log_line_with_control_characters() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.jsonl");
        let json =
            fmt::layer().json().flatten_event(true).with_writer(Mutex::new(EscapedFile(File::create(&path).unwrap())));
        let name = "a\u{1b}[2J\u{9b}\nerror: forged\u{202e}";
        tracing::subscriber::with_default(tracing_subscriber::registry().with(json), || {
            tracing::warn!(client = name, "client {name} dropped");
        });
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.lines().count() == 1 && !text.trim_end().contains(|sign: char| sign.is_control()), "{text:?}");
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["client"], name);
        for shown in [field_text("message", &format_args!("client {name} dropped")), field_text("client", &name)] {
            assert!(!shown.contains(|sign: char| sign.is_control() || sign == '\u{202e}'), "{shown:?}");
        }
    }
}
