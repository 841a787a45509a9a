//! `cellm experiment FILE`: runs a grid, or says what it would cost.

use std::fmt::Write;
use std::path::Path;

use tokio::sync::{mpsc, watch};

use crate::config::Override;
use crate::experiment::{self, Estimate, Event, Grid, Options, Outcome, Pace};
use crate::pool::Task;
use crate::report::{bytes, duration, loss, percent};

use super::args::{self, Verbosity};
use super::{Failure, logging, output, progress, signals};

/// Parent of experiment directories, for experiments without `--out`.
const EXPERIMENTS: &str = "runs/experiments";

/// Runs or estimates; exit code 1 where a cell failed, 5 where it was interrupted.
pub fn experiment(arguments: &args::Experiment, verbosity: Verbosity) -> Result<u8, Failure> {
    let overrides = arguments.set.iter().map(|text| Override::parse(text)).collect::<Result<_, _>>()?;
    let grid = Grid::new(experiment::Experiment::read(&arguments.file)?, overrides)?;
    let named = || Path::new(EXPERIMENTS).join(&grid.experiment.name);
    let out = arguments.out.clone().unwrap_or_else(named);
    fetch(&grid, verbosity)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime
        .map_err(|error| Failure { code: 1, error: anyhow::Error::new(error).context("cannot start threads") })?;
    if arguments.dry_run {
        let estimated = runtime.block_on(experiment::estimate(&grid, &out))?;
        return dry(&grid, &estimated, verbosity.json);
    }
    std::fs::create_dir_all(&out).map_err(|error| Failure::file("make directory", &out, error))?;
    let bar = progress::cells(verbosity, grid.cells());
    logging::start(&out, verbosity, &bar)?;
    let options = Options { out, jobs: arguments.jobs };
    let outcome = runtime.block_on(drive(&grid, &options, verbosity, bar));
    // Blocking work of an aborted round has nothing more to say.
    runtime.shutdown_background();
    finish(&outcome?, arguments, verbosity.json)
}

/// Has the models fetched that are on the hub alone.
fn fetch(grid: &Grid, verbosity: Verbosity) -> Result<(), Failure> {
    let mut models = Vec::new();
    for cell in grid.first_pass()? {
        if !models.contains(&cell.config.model) {
            progress::fetch(&cell.config.model, verbosity)?;
            models.push(cell.config.model);
        }
    }
    Ok(())
}

async fn drive(
    grid: &Grid,
    options: &Options,
    verbosity: Verbosity,
    bar: indicatif::ProgressBar,
) -> Result<Outcome, Failure> {
    let (events, listen) = mpsc::unbounded_channel();
    let (stop, stopped) = watch::channel(false);
    let above = bar.clone();
    let signals = Task::start(
        "the watch for signals",
        signals::watch_signals(stop, move |text| above.suspend(|| output::say(text))),
    );
    let printer =
        Task::start("the printer", follow(listen, ProgressPrinter { bar, verbosity, done: 0, of: grid.cells() }));
    let result = experiment::run(grid, options, events, stopped).await;
    // The channel is closed by now; a panic of the printer is no reason to lose the result.
    drop(printer.ended().await);
    drop(signals);
    Ok(result?)
}

fn finish(outcome: &Outcome, arguments: &args::Experiment, json: bool) -> Result<u8, Failure> {
    let out = outcome.out.display();
    if json {
        let object = serde_json::to_value(outcome).map_err(|error| Failure { code: 1, error: error.into() })?;
        output::print_json(&object)?;
    } else {
        let failed = outcome.failed.len();
        output::print(&format!(
            "{} cells: {} run, {} finished before, {failed} failed\nreport {}\ntable  {out}/table.md\ncells  {out}/cells.csv\n",
            outcome.cells,
            outcome.ran,
            outcome.kept,
            outcome.report.display()
        ))?;
    }
    if outcome.interrupted {
        let set: String = arguments.set.iter().map(|set| format!(" --set {set}")).collect();
        output::say(&format!("interrupted; to go on: cellm experiment {}{set} --out {out}", arguments.file.display()));
        return Ok(signals::INTERRUPTED);
    }
    Ok(u8::from(!outcome.failed.is_empty()))
}

/// Says what an experiment tells, a line a cell; rounds are in the cells' own files.
async fn follow(mut events: mpsc::UnboundedReceiver<Event>, mut printer: ProgressPrinter) {
    while let Some(event) = events.recv().await {
        printer.tell(event);
    }
    printer.bar.finish_and_clear();
}

struct ProgressPrinter {
    bar: indicatif::ProgressBar,
    verbosity: Verbosity,
    done: usize,
    of: usize,
}

impl ProgressPrinter {
    fn tell(&mut self, event: Event) {
        match event {
            Event::Begun { cell, resumed } => {
                tracing::info!(target: progress::LOG, cell, resumed, "cell begun");
                self.bar.set_message(cell.clone());
                if resumed {
                    self.say(&format!("{cell} goes on where it was stopped"));
                }
            }
            Event::Progress { cell, progress } => self.progress(&cell, progress),
            Event::Ended { cell, summary, kept } => {
                let place = self.count();
                let eval_loss = loss(summary.eval_loss_after);
                tracing::info!(target: progress::LOG, cell, kept, eval_loss, "cell finished");
                let how = if kept { "finished before".into() } else { duration(summary.seconds) };
                let accuracy = match summary.eval_metric_after {
                    Some(share) => format!("  {} {:>6}", summary.metric, percent(Some(share))),
                    None => String::new(),
                };
                let dropped = match summary.dropped {
                    0 => String::new(),
                    dropped => format!("  {dropped} clients dropped"),
                };
                let sent = bytes(summary.bytes_total);
                self.say(&format!("{place} {cell}  loss {eval_loss}{accuracy}  {sent:>9}  {how}{dropped}"));
            }
            Event::Failed(failed) => {
                let place = self.count();
                tracing::error!("{place} {} failed: {}", failed.cell, failed.reason);
            }
            Event::Chosen { study, point, of } => match point {
                Some(point) => self.say(&format!("{study}: {point} is the best of {of}")),
                None => tracing::warn!(
                    "{study}: none of the {of} points of its sweep came to its end with a measured value"
                ),
            },
        }
    }

    fn progress(&self, cell: &str, progress: crate::federation::Progress) {
        use crate::federation::Progress;
        match progress {
            Progress::Round(row) => {
                self.bar.set_message(format!("{cell}  round {}", row.round));
                if self.verbosity.verbose > 0 {
                    let reached = loss(row.eval_loss.or(row.train_loss));
                    self.say(&format!("{cell}  round {}  loss {reached}  {}", row.round, bytes(row.bytes_total)));
                }
            }
            Progress::Evaluated { done, of } => self.bar.set_message(format!("{cell}  evaluating {done}/{of} records")),
            Progress::Note(text) => self.say(&format!("{cell}: {text}")),
            // Whoever sends a warning has logged it, which is what the user sees.
            Progress::Warning(_) | Progress::Client { .. } | Progress::Ready { .. } => {}
        }
    }

    fn count(&mut self) -> String {
        self.done += 1;
        self.bar.set_position(self.done as u64);
        let width = self.of.to_string().len();
        format!("[{:>width$}/{}]", self.done, self.of)
    }

    fn say(&self, text: &str) {
        if !self.verbosity.quiet {
            self.bar.suspend(|| output::say(text));
        }
    }
}

/// Prints the grid's size and estimated cost, as text or JSON.
fn dry(grid: &Grid, (studies, pace): &(Vec<Estimate>, Pace), json: bool) -> Result<u8, Failure> {
    let left = |study: &Estimate| (study.cells - study.finished) as f64;
    let seconds: f64 = studies.iter().map(|study| left(study) * study.seconds_a_run).sum();
    let sent: f64 = studies.iter().map(|study| left(study) * study.bytes_a_run as f64).sum();
    if json {
        let object = serde_json::json!({
            "cells": grid.cells(), "studies": studies, "pace": pace, "seconds_left": seconds, "bytes_left": sent as u64,
        });
        output::print_json(&object)?;
        return Ok(0);
    }
    let mut text = String::new();
    let width = studies.iter().map(|study| study.method.len()).max().unwrap_or(0).max(6);
    let _ = writeln!(text, "{:<width$}  points  cells  finished  bytes a run  time a run  setting", "method");
    for study in studies {
        let Estimate { method, setting, points, cells, finished, bytes_a_run, seconds_a_run } = study;
        let _ = writeln!(
            text,
            "{method:<width$}  {points:>6}  {cells:>5}  {finished:>8}  {:>11}  {:>10}  {setting}",
            bytes(*bytes_a_run),
            duration(*seconds_a_run)
        );
    }
    let finished: usize = studies.iter().map(|study| study.finished).sum();
    let _ = writeln!(
        text,
        "\n{} cells, {finished} finished; left: about {} and {}",
        grid.cells(),
        duration(seconds),
        bytes(sent as u64)
    );
    let from = match pace.cells {
        0 => "a calibration of one round, training and evaluation alone".into(),
        cells => format!("{cells} finished cells"),
    };
    let _ = writeln!(
        text,
        "Estimates: bytes from the length of a dense frame, densities and bits, which not every policy keeps to; time from {from}."
    );
    output::print(&text)?;
    Ok(0)
}
