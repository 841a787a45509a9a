//! The progress of a run, and of a model's download before it, on stderr: a bar on a terminal, plain lines elsewhere.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::federation::{Progress, RoundRow};
use crate::report::{bytes, duration, loss, percent};
use crate::trainer::{Download, Model, ModelConfig};

use super::args::Verbosity;
use super::{Failure, output, visible};

/// Target of the log events that say again what the progress says; they go to `log.jsonl` alone.
pub const LOG: &str = "cellm::progress";

/// Drops that are told one by one; the rest is in clients.jsonl.
const TOLD_DROPS: usize = 10;

/// The bar of the rounds.
const ROUNDS: &str = "round {pos}/{len} {wide_bar} {msg}  {elapsed}";
/// The bar of an evaluation, in its place for as long as that takes.
const EVALUATING: &str = "evaluating {pos}/{len} records {wide_bar} {msg}  {elapsed}";

/// A bar that is shown on a terminal only.
pub fn bar(verbosity: Verbosity) -> ProgressBar {
    styled(verbosity, ROUNDS)
}

fn styled(verbosity: Verbosity, template: &str) -> ProgressBar {
    if verbosity.quiet || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stderr_with_hz(10));
    set_template(&bar, template);
    bar
}

fn set_template(bar: &ProgressBar, template: &str) {
    // Templates are constants; were one wrong, the default style would do.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
}

/// A bar over the cells of an experiment.
pub fn cells(verbosity: Verbosity, cells: usize) -> ProgressBar {
    let bar = styled(verbosity, "cell {pos}/{len} {wide_bar} {msg}  {elapsed}");
    bar.set_length(cells as u64);
    bar
}

/// Has the config's model fetched from the hub where it is not on this machine, and says so, file by file.
pub fn fetch(model: &ModelConfig, verbosity: Verbosity) -> Result<(), Failure> {
    let bar = styled(verbosity, "{msg} {wide_bar} {bytes}/{total_bytes}  {elapsed}");
    let mut last = String::new();
    let tell = &mut |download: Download| {
        if last != download.file {
            last = download.file.to_owned();
            bar.set_message(visible::line(&last).into_owned());
            if bar.is_hidden() && !verbosity.quiet {
                output::say(&format!("fetching {last}, {}", bytes(download.of)));
            }
        }
        bar.set_length(download.of);
        bar.set_position(download.bytes);
    };
    let fetched = Model::fetch(model, tell);
    bar.finish_and_clear();
    Ok(fetched?)
}

/// Says what a run tells until it is over.
pub async fn follow(mut events: UnboundedReceiver<Progress>, bar: ProgressBar, verbosity: Verbosity) {
    let mut printer = ProgressPrinter {
        bar,
        verbosity,
        rounds: 0,
        rates_change: false,
        metric: "",
        drops: 0,
        last: String::new(),
        closed: 0,
        evaluating: false,
    };
    while let Some(event) = events.recv().await {
        printer.tell(event);
    }
    printer.bar.finish_and_clear();
}

struct ProgressPrinter {
    bar: ProgressBar,
    verbosity: Verbosity,
    rounds: u32,
    /// True where the rounds' lines have the learning rate.
    rates_change: bool,
    /// The name of the accuracy.
    metric: &'static str,
    drops: usize,
    last: String,
    /// Rounds closed.
    closed: u32,
    /// True while the bar is that of an evaluation.
    evaluating: bool,
}

impl ProgressPrinter {
    fn tell(&mut self, event: Progress) {
        match event {
            Progress::Ready { model, clients, values, metric, run_dir, rounds, rates_change, first_round } => {
                tracing::info!(target: LOG, model, clients, values, rounds, first_round, "ready");
                (self.rounds, self.rates_change, self.metric) = (rounds, rates_change, metric);
                self.closed = first_round.saturating_sub(1);
                self.show_rounds();
                self.say(&model);
                self.say(&format!(
                    "{clients} clients, {values} adapter values, {rounds} rounds, run directory {}",
                    run_dir.display()
                ));
                if first_round > 1 {
                    self.say(&format!("resumed before round {first_round}"));
                }
            }
            Progress::Client { round, client, dropped, done, cohort } => {
                self.client(round, &client, dropped, done, cohort)
            }
            Progress::Evaluated { done, of } => self.evaluated(done, of),
            Progress::Round(row) => self.round(&row),
            Progress::Note(text) => {
                tracing::info!(target: LOG, "{text}");
                self.say(&text);
            }
            // Whoever sends one has logged it, which is what the user sees.
            Progress::Warning(_) => {}
        }
    }

    /// Shows how far an evaluation is, in the place of the rounds.
    fn evaluated(&mut self, done: usize, of: usize) {
        if !std::mem::replace(&mut self.evaluating, true) {
            set_template(&self.bar, EVALUATING);
            self.bar.set_message(self.last.clone());
        }
        self.bar.set_length(of as u64);
        self.bar.set_position(done as u64);
    }

    fn show_rounds(&mut self) {
        if std::mem::replace(&mut self.evaluating, false) {
            set_template(&self.bar, ROUNDS);
        }
        self.bar.set_length(u64::from(self.rounds));
        self.bar.set_position(u64::from(self.closed));
    }

    fn client(&mut self, round: u32, client: &str, dropped: Option<String>, done: u32, cohort: u32) {
        if let Some(reason) = dropped {
            tracing::warn!(target: LOG, round, client, reason, "client dropped");
            self.drops += 1;
            if self.drops <= TOLD_DROPS || self.verbosity.verbose > 0 {
                self.say(&format!("round {round}: client {client} dropped: {reason}"));
            }
            if self.drops == TOLD_DROPS && self.verbosity.verbose == 0 {
                self.say("further drops are in clients.jsonl alone");
            }
        }
        self.bar.set_message(format!("client {done}/{cohort}  {}", self.last));
    }

    fn round(&mut self, row: &RoundRow) {
        let (completed, dropped, bytes_total, seconds) = (row.completed, row.dropped, row.bytes_total, row.seconds);
        tracing::info!(target: LOG, round = row.round, completed, dropped, bytes_total, seconds, "round closed");
        self.closed = row.round;
        self.show_rounds();
        self.last = format!("loss {}  {}", loss(row.eval_loss.or(row.train_loss)), bytes(row.bytes_total));
        self.bar.set_message(self.last.clone());
        // On a terminal the bar tells the rounds between two evaluations.
        if self.bar.is_hidden() || row.eval_loss.is_some() {
            self.say(&line(row, self.rounds, self.metric, self.rates_change));
        }
    }

    fn say(&self, text: &str) {
        if !self.verbosity.quiet {
            self.bar.suspend(|| output::say(text));
        }
    }
}

fn line(row: &RoundRow, rounds: u32, metric: &str, rates_change: bool) -> String {
    let accuracy = match row.eval_metric {
        Some(share) => format!("  {metric} {:>6}", percent(Some(share))),
        None => String::new(),
    };
    if row.round == 0 {
        return match row.eval_loss {
            Some(_) => format!("before training: validation loss {}{accuracy}", loss(row.eval_loss)),
            None => "training starts".into(),
        };
    }
    let width = rounds.to_string().len();
    let rate = row.lr.filter(|_| rates_change).map(|lr| format!("  lr {lr:.2e}")).unwrap_or_default();
    let missed = if row.completed < row.quorum { "  quorum missed, nothing changed" } else { "" };
    format!(
        "round {:>width$}/{rounds}{rate}  train loss {:>6}  validation loss {:>6}{accuracy}  {:>9} sent  {}/{} clients  {}{missed}",
        row.round,
        loss(row.train_loss),
        loss(row.eval_loss),
        bytes(row.bytes_total),
        row.completed,
        row.cohort,
        duration(row.seconds)
    )
}
