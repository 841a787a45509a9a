//! `cellm run`: a new run or the continuation of an interrupted one.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tokio::sync::{mpsc, watch};

use crate::config::{Layers, Loaded, Override};
use crate::federation::{self, Start, Summary, is_run};
use crate::pool::Task;
use crate::report;

use super::args::{ConfigSources, Run, Verbosity};
use super::{Failure, config, logging, output, progress, signals, summary_table, visible};

/// Parent of run directories, for runs without `run.out`.
pub const RUNS: &str = "runs";

/// The place of a federation's clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// In this process.
    Simulate,
    /// On other machines.
    Serve,
}

impl Role {
    fn command(self) -> &'static str {
        match self {
            Self::Simulate => "run",
            Self::Serve => "server",
        }
    }
}

/// Runs a federation; the exit code tells whether it came to its end.
pub fn run(arguments: &Run, role: Role, verbosity: Verbosity) -> Result<u8, Failure> {
    let mut start = if arguments.resume { resumed(arguments)? } else { fresh(arguments)? };
    progress::fetch(&start.config.model, verbosity)?;
    let of_its_own = !arguments.resume && start.config.run.out.is_none();
    let directory = RunDirectory::make(&start.run_dir, of_its_own)?;
    start.run_dir = directory.dir.clone();
    let bar = progress::bar(verbosity);
    logging::start(&directory.dir, verbosity, &bar)?;

    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime
        .map_err(|error| Failure { code: 1, error: anyhow::Error::new(error).context("cannot start threads") })?;
    let summary = runtime.block_on(drive(start, role, verbosity, bar));
    // Blocking work of an aborted round has nothing more to say.
    runtime.shutdown_background();
    let summary = summary.inspect_err(|_| directory.leave_nothing())?;

    report::write(std::slice::from_ref(&directory.dir), &summary.report, None)?;
    finish(&summary, role, verbosity)
}

async fn drive(
    start: Start,
    role: Role,
    verbosity: Verbosity,
    bar: indicatif::ProgressBar,
) -> Result<Summary, Failure> {
    let (events, listen) = mpsc::unbounded_channel();
    let (stop, stopped) = watch::channel(false);
    let above = bar.clone();
    let signals = Task::start(
        "the watch for signals",
        signals::watch_signals(stop, move |text| above.suspend(|| output::say(text))),
    );
    let printer = Task::start("the printer", progress::follow(listen, bar, verbosity));
    let result = match role {
        Role::Simulate => federation::run(start, events, stopped).await,
        Role::Serve => federation::serve(start, events, stopped).await,
    };
    // The channel is closed by now, so the printer ends with the last event; a panic of it is no reason to lose the result.
    drop(printer.ended().await);
    drop(signals);
    Ok(result?)
}

fn finish(summary: &Summary, role: Role, verbosity: Verbosity) -> Result<u8, Failure> {
    let text = summary_table::summary(summary);
    if verbosity.json {
        if !verbosity.quiet {
            // A terminal that went away reads no table.
            drop(write!(std::io::stderr(), "\n{}", visible::lines(&text)));
        }
        let object = serde_json::to_value(summary).map_err(|error| Failure { code: 1, error: error.into() })?;
        output::print_json(&object)?;
    } else {
        output::print(&text)?;
    }
    if summary.interrupted {
        let command = role.command();
        output::say(&format!("interrupted; to go on: cellm {command} --resume --out {}", summary.run_dir.display()));
        return Ok(signals::INTERRUPTED);
    }
    if let Some(reason) = summary.in_vain() {
        output::say(&format!("error: {reason}; why clients dropped is in clients.jsonl and in the report"));
        return Ok(1);
    }
    Ok(0)
}

/// The directory of a run, and those that were made for it.
struct RunDirectory {
    dir: PathBuf,
    made: Vec<PathBuf>,
}

impl RunDirectory {
    /// Makes the directory and what is missing above it. `of_its_own` is for one that nobody named: where another run has the
    /// name already, even since a moment ago, it gets a number.
    fn make(dir: &Path, of_its_own: bool) -> Result<Self, Failure> {
        let failed = |dir: &Path| {
            let dir = dir.to_owned();
            move |error| Failure::file("make run directory", &dir, error)
        };
        let above: Vec<&Path> = dir.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()).collect();
        let mut made = Vec::new();
        for above in above.into_iter().rev() {
            if !above.is_dir() && makes(above).map_err(failed(above))? {
                made.push(above.to_owned());
            }
        }
        for number in 1.. {
            let dir = if number == 1 { dir.to_owned() } else { PathBuf::from(format!("{}-{number}", dir.display())) };
            let is_new = makes(&dir).map_err(failed(&dir))?;
            if is_new {
                made.push(dir.clone());
            }
            if is_new || !of_its_own {
                return Ok(Self { dir, made });
            }
        }
        Err(Failure::usage(format!("there is no number left for {}", dir.display())))
    }

    /// A run that failed before it was one leaves no directory that looks like one.
    fn leave_nothing(&self) {
        if !is_run(&self.dir) {
            // What cannot be removed, or holds files of someone else, stays; the run's own error is what counts.
            let _ = std::fs::remove_file(self.dir.join("log.jsonl"));
            self.made.iter().rev().for_each(|made| drop(std::fs::remove_dir(made)));
        }
    }
}

/// Makes one directory; false where it is there already.
fn makes(dir: &Path) -> std::io::Result<bool> {
    match std::fs::create_dir(dir) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && dir.is_dir() => Ok(false),
        made => made.map(|()| true),
    }
}

fn fresh(arguments: &Run) -> Result<Start, Failure> {
    let mut layers = config::layers(&arguments.sources)?;
    if let Some(out) = &arguments.out {
        let value = out.to_str().ok_or_else(|| Failure::usage(format!("--out {} is not Unicode", out.display())))?;
        layers.overrides.push(Override { key: "run.out".into(), value: quoted(value), option: "--out" });
    }
    let loaded = layers.load()?;
    let run_dir = match &loaded.config.run.out {
        Some(out) => out.clone(),
        None => Path::new(RUNS).join(format!("{}-{}", timestamp(SystemTime::now()), loaded.config.run.name)),
    };
    if loaded.config.run.out.is_some() && is_run(&run_dir) {
        let dir = run_dir.display();
        return Err(Failure::usage(format!(
            "{dir} holds a run already; continue it with --resume --out {dir}, or choose another --out"
        )));
    }
    Ok(start(&loaded, loaded.to_toml(), run_dir, false))
}

/// The config of an interrupted run is the one that it wrote: files and environment of today do not count, `--set` does.
fn resumed(arguments: &Run) -> Result<Start, Failure> {
    let run_dir = match &arguments.out {
        Some(out) => out.clone(),
        None => newest(Path::new(RUNS))
            .ok_or_else(|| Failure::usage(format!("there is no run under {RUNS} to resume; name it with --out")))?,
    };
    if !is_run(&run_dir) {
        return Err(federation::FederationError::NoRun(run_dir).into());
    }
    let (loaded, path) = stored(&run_dir, &arguments.sources)?;
    let before = std::fs::read_to_string(&path).map_err(|error| Failure::file("read", &path, error))?;
    let text = keep_origins(&loaded.to_toml(), &before, &path);
    Ok(start(&loaded, text, run_dir, true))
}

/// The config that a run directory holds, with the `--set` of `sources` over it, and the file it lies in.
pub fn stored(run_dir: &Path, sources: &ConfigSources) -> Result<(Loaded, PathBuf), Failure> {
    let path = run_dir.join("config.toml");
    let overrides = sources.set.iter().map(|text| Override::parse(text)).collect::<Result<_, _>>()?;
    let mut files = vec![path.clone()];
    files.extend(sources.config.iter().cloned());
    let loaded = Layers { files, profile: sources.profile.clone(), overrides, ..Layers::default() }.load()?;
    Ok((loaded, path))
}

/// The config as text, where what still comes from the run's own config keeps the line, and so the origin, that it has there.
fn keep_origins(now: &str, before: &str, path: &Path) -> String {
    let own = format!("  # {}, line ", path.display());
    let old: Vec<&str> = before.lines().collect();
    let kept = now.lines().map(|line| {
        let number = line.rsplit_once(&own).and_then(|(_, number)| number.parse::<usize>().ok());
        let line = number.and_then(|number| old.get(number.checked_sub(1)?)).copied().unwrap_or(line);
        format!("{line}\n")
    });
    kept.collect()
}

fn start(loaded: &Loaded, effective_toml: String, run_dir: PathBuf, resume: bool) -> Start {
    Start { config: loaded.config.clone(), effective_toml, run_dir, resume }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// The newest run: names begin with their time, so they sort by it.
pub fn newest(runs: &Path) -> Option<PathBuf> {
    let dirs = std::fs::read_dir(runs).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    dirs.filter(|dir| is_run(dir)).max()
}

/// UTC as `20261231-235959`: sorts by time and is a file name everywhere.
fn timestamp(time: SystemTime) -> String {
    let text = humantime::format_rfc3339_seconds(time).to_string();
    text.chars()
        .filter(|letter| !matches!(letter, '-' | ':' | 'Z'))
        .map(|letter| if letter == 'T' { '-' } else { letter })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Leaves the files of a run that has begun: a journal and the config.
    fn make_run(dir: &Path, config: &str) {
        std::fs::create_dir_all(dir.join("journal")).unwrap();
        std::fs::write(dir.join("journal/journal.redb"), "").unwrap();
        std::fs::write(dir.join("config.toml"), config).unwrap();
    }

    #[test]
    fn run_directories_sort_by_time_and_the_newest_is_found() {
        assert_eq!(timestamp(SystemTime::UNIX_EPOCH), "19700101-000000");
        let runs = tempfile::tempdir().unwrap();
        for name in ["20260101-000000-a", "20260102-000000-a", "20260103-000000-empty"] {
            std::fs::create_dir(runs.path().join(name)).unwrap();
        }
        assert_eq!(newest(runs.path()), None);
        for name in ["20260101-000000-a", "20260102-000000-a"] {
            make_run(&runs.path().join(name), "");
        }
        assert!(newest(runs.path()).unwrap().ends_with("20260102-000000-a"));
    }

    #[test]
    fn two_runs_of_one_second_have_a_directory_each_and_a_failed_one_leaves_none() {
        let root = tempfile::tempdir().unwrap();
        let name = root.path().join("a/b/20260101-000000-a");
        let one = RunDirectory::make(&name, true).map_err(|failure| failure.error).unwrap();
        let two = RunDirectory::make(&name, true).map_err(|failure| failure.error).unwrap();
        assert!(one.dir == name && two.dir.ends_with("20260101-000000-a-2"));
        let named = RunDirectory::make(&name, false).map_err(|failure| failure.error).unwrap();
        assert!(named.dir == name && named.made.is_empty());
        std::fs::write(one.dir.join("log.jsonl"), "{}").unwrap();
        two.leave_nothing();
        assert!(!two.dir.exists() && one.dir.exists());
        one.leave_nothing();
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0, "what was made above it goes with it");
    }

    #[test]
    fn a_directory_with_a_run_is_not_overwritten_and_one_without_is_not_resumed() {
        let dir = tempfile::tempdir().unwrap();
        let arguments = |resume| Run { sources: ConfigSources::default(), out: Some(dir.path().to_owned()), resume };
        let failure = resumed(&arguments(true)).map(|_| ()).unwrap_err();
        assert_eq!(failure.code, 2);
        assert!(failure.error.to_string().contains("no run to resume"));
        let start = fresh(&arguments(false)).map_err(|failure| failure.error).unwrap();
        assert_eq!(start.run_dir, dir.path());
        assert!(start.effective_toml.contains("# --out"));
        make_run(dir.path(), &start.effective_toml);
        let failure = fresh(&arguments(false)).map(|_| ()).unwrap_err();
        assert!(failure.code == 2 && failure.error.to_string().contains("--resume"));
        let again = resumed(&arguments(true)).map_err(|failure| failure.error).unwrap();
        assert_eq!(again.config, start.config);
        assert!(again.resume);
        assert_eq!(again.effective_toml, start.effective_toml);
        let mut longer = arguments(true);
        longer.sources.set = vec!["run.rounds=40".into()];
        let longer = resumed(&longer).map_err(|failure| failure.error).unwrap();
        assert_eq!(longer.config.run.rounds, 40);
        assert_eq!(
            longer.effective_toml,
            start.effective_toml.replace("rounds = 30  # default", "rounds = 40  # --set")
        );
    }
}
