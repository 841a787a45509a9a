//! Runs a grid: two passes of cells, the choice between them, the report. Every cell is an ordinary run; one that fails
//! costs its own place in the report and nothing else.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::cell::CellState;
use super::{Cell, ExperimentError, Failed, Grid, results, sweep_winner};
use crate::federation::{self, Inputs, Progress, Start, Summary};
use crate::pool::{Task, blocking};
use crate::report::{self, Run};

/// Settings of one call: directory and parallelism.
#[derive(Debug, Clone)]
pub struct Options {
    /// The experiment's directory: cells and report.
    pub out: PathBuf,
    /// Cells at a time, at least 1; they share the threads.
    pub jobs: usize,
}

/// Progress of an experiment, sent while it runs.
#[derive(Debug, Clone)]
pub enum Event {
    /// A cell begins, or goes on where it was stopped.
    Begun {
        /// The cell.
        cell: String,
        /// True where an earlier call began the cell and was stopped.
        resumed: bool,
    },
    /// Progress of a cell's run.
    Progress {
        /// The cell.
        cell: String,
        /// The run's event.
        progress: Progress,
    },
    /// A cell is finished.
    Ended {
        /// The cell.
        cell: String,
        /// The run's results.
        summary: Box<Summary>,
        /// True where an earlier call finished the cell.
        kept: bool,
    },
    /// A cell failed.
    Failed(Failed),
    /// A sweep is decided.
    Chosen {
        /// The method, with its setting where there are several.
        study: String,
        /// The winner's values; none where no point of it came to its end.
        point: Option<String>,
        /// Number of points that were tried.
        of: usize,
    },
}

/// Result of one call: cells run, kept and failed, and the report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// The experiment's directory.
    pub out: PathBuf,
    /// The page.
    pub report: PathBuf,
    /// Cells of the whole grid.
    pub cells: usize,
    /// Cells that this call ran to their end.
    pub ran: usize,
    /// Cells that were finished before.
    pub kept: usize,
    /// Cells that failed.
    pub failed: Vec<Failed>,
    /// True where the call was stopped before the last cell; the same command goes on from there.
    pub interrupted: bool,
    /// CPU seconds of all cells that this call ran, training and evaluation.
    pub training_cpu_s: f64,
}

/// Runs every cell of the grid that is not finished yet and writes the report.
///
/// # Errors
/// [`ExperimentError::Differs`] before anything runs; the report's errors. Cells that fail, cannot be read, or ended with
/// rounds that missed their quorum, are in the outcome.
pub async fn run(
    grid: &Grid,
    options: &Options,
    events: mpsc::UnboundedSender<Event>,
    stop: watch::Receiver<bool>,
) -> Result<Outcome, ExperimentError> {
    let out = &options.out;
    let file = |path: &Path| {
        let path = path.to_owned();
        move |source| ExperimentError::File { path, source }
    };
    std::fs::create_dir_all(out).map_err(file(out))?;
    let copy = out.join("experiment.toml");
    std::fs::copy(grid.path(), &copy).map_err(file(&copy))?;
    let mut runner =
        Runner { grid, options, events, stop, inputs: Arc::default(), ended: Vec::new(), failed: Vec::new() };
    runner.pass(grid.first_pass()?).await?;
    let chosen = runner.choose();
    if !runner.stopped() {
        runner.pass(grid.second_pass(&chosen)?).await?;
    }
    let (interrupted, ended, failed) = (runner.stopped(), runner.ended, runner.failed);
    let report = results::write(grid, out, &chosen, &failed)?;
    Ok(Outcome {
        out: out.clone(),
        report,
        cells: grid.cells(),
        ran: ended.iter().filter(|ended| !ended.kept).count(),
        kept: ended.iter().filter(|ended| ended.kept).count(),
        // A cell that ended all the same before the signal came does not make it an interruption.
        interrupted: interrupted && ended.len() + failed.len() < grid.cells(),
        training_cpu_s: ended.iter().filter(|ended| !ended.kept).map(|ended| ended.cpu_s).sum(),
        failed,
    })
}

/// A cell that came to its end.
struct FinishedCell {
    cell: Cell,
    kept: bool,
    cpu_s: f64,
}

struct Runner<'a> {
    grid: &'a Grid,
    options: &'a Options,
    events: mpsc::UnboundedSender<Event>,
    stop: watch::Receiver<bool>,
    inputs: Arc<Inputs>,
    ended: Vec<FinishedCell>,
    failed: Vec<Failed>,
}

impl Runner<'_> {
    fn stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// Nothing depends on a listener.
    fn tell(&self, event: Event) {
        drop(self.events.send(event));
    }

    /// Runs what is not finished, `jobs` at a time. All cells are looked at before the first one runs.
    async fn pass(&mut self, cells: Vec<Cell>) -> Result<(), ExperimentError> {
        let mut waiting = VecDeque::new();
        for cell in cells {
            let state = match cell.state(&self.options.out) {
                // A config that cannot be read costs its own cell: one of another version, or edited by hand.
                Err(error @ ExperimentError::Cell { .. }) => {
                    let dir = cell.dir(&self.options.out);
                    self.fail(cell.name, format!("{error}; remove {} to run it anew", dir.display()));
                    continue;
                }
                state => state?,
            };
            match state {
                CellState::Finished(summary) => self.keep(cell, summary),
                CellState::Fresh => waiting.push_back((cell, false)),
                CellState::Unfinished => waiting.push_back((cell, true)),
            }
        }
        let mut running = JoinSet::new();
        loop {
            while running.len() < self.options.jobs.max(1) && !self.stopped() {
                let Some((cell, resume)) = waiting.pop_front() else { break };
                self.tell(Event::Begun { cell: cell.name.clone(), resumed: resume });
                running.spawn(self.prepare(cell, resume).run());
            }
            let Some(ended) = running.join_next().await else { return Ok(()) };
            match ended {
                Ok((cell, Ok(summary))) => self.end(cell, summary),
                Ok((cell, Err(reason))) => self.fail(cell.name, reason),
                // The run's own panics are caught by its supervisor.
                Err(panic) => self.fail("of this pass".into(), panic.to_string()),
            }
        }
    }

    fn prepare(&self, cell: Cell, resume: bool) -> Job {
        let dir = cell.dir(&self.options.out);
        let mut config = cell.config.clone();
        config.run.threads = threads(config.run.threads, self.options.jobs);
        let start = Start { config, effective_toml: cell.effective_toml.clone(), run_dir: dir, resume };
        Job { cell, start, inputs: self.inputs.clone(), events: self.events.clone(), stop: self.stop.clone() }
    }

    fn keep(&mut self, cell: Cell, summary: Box<Summary>) {
        if let Some(reason) = summary.in_vain() {
            return self.fail(cell.name, reason);
        }
        self.tell(Event::Ended { cell: cell.name.clone(), summary, kept: true });
        self.ended.push(FinishedCell { cell, kept: true, cpu_s: 0.0 });
    }

    fn end(&mut self, cell: Cell, summary: Summary) {
        // A stopped run has ended, but not come to its end.
        if summary.interrupted {
            return;
        }
        if let Some(reason) = summary.in_vain() {
            return self.fail(cell.name, reason);
        }
        let cpu_s = summary.timing.training_cpu_s + summary.timing.evaluation_cpu_s;
        self.tell(Event::Ended { cell: cell.name.clone(), summary: Box::new(summary), kept: false });
        self.ended.push(FinishedCell { cell, kept: false, cpu_s });
    }

    fn fail(&mut self, cell: String, reason: String) {
        let failed = Failed { cell, reason };
        self.tell(Event::Failed(failed.clone()));
        self.failed.push(failed);
    }

    /// The chosen point of each study: the only one, or the best of its sweep.
    fn choose(&self) -> Vec<Option<usize>> {
        let chosen: Vec<Option<usize>> = (0..self.grid.studies.len()).map(|study| self.choose_of(study)).collect();
        if self.stopped() {
            return chosen;
        }
        for (study, point) in chosen.iter().enumerate() {
            let described = &self.grid.studies[study];
            if described.points.len() > 1 {
                let title = |point: usize| described.points[point].title();
                let setting = self.grid.settings[described.setting].title();
                let setting = if setting.is_empty() { setting } else { format!(" ({setting})") };
                let study = format!("{}{setting}", self.grid.method(study));
                self.tell(Event::Chosen { study, point: point.map(title), of: described.points.len() });
            }
        }
        chosen
    }

    fn choose_of(&self, study: usize) -> Option<usize> {
        let points = self.grid.studies[study].points.len();
        if points == 1 {
            return Some(0);
        }
        let experiment = &self.grid.experiment;
        let end = |point: usize, seed: u64| {
            let same =
                |ended: &&FinishedCell| (ended.cell.study, ended.cell.point, ended.cell.seed) == (study, point, seed);
            let dir = self.ended.iter().find(same)?.cell.dir(&self.options.out);
            // What cannot be read is an error of the report, which reads it again.
            Run::read(&dir).ok().and_then(|run| experiment.utility.first_and_last(&run)).map(|(_, end)| end)
        };
        let of_point = |point| experiment.sweep_seeds.iter().map(|seed| end(point, *seed)).collect();
        sweep_winner::best_point(&(0..points).map(of_point).collect::<Vec<_>>(), experiment.utility)
    }
}

/// A cell's share of the threads. Its result does not depend on it.
fn threads(own: usize, jobs: usize) -> usize {
    let all = match own {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        own => own,
    };
    (all / jobs.max(1)).max(1)
}

/// A cell that is about to run.
struct Job {
    cell: Cell,
    start: Start,
    inputs: Arc<Inputs>,
    events: mpsc::UnboundedSender<Event>,
    stop: watch::Receiver<bool>,
}

impl Job {
    async fn run(self) -> (Cell, Result<Summary, String>) {
        let Self { cell, start, inputs, events, stop } = self;
        let (progress, mut heard) = mpsc::unbounded_channel();
        let name = cell.name.clone();
        let teller = Task::start("the teller of a cell", async move {
            while let Some(progress) = heard.recv().await {
                drop(events.send(Event::Progress { cell: name.clone(), progress }));
            }
        });
        let dir = start.run_dir.clone();
        let ended = federation::run_with(start, inputs, progress, stop).await;
        // It ends with the channel; a panic of it is no reason to lose the result.
        drop(teller.ended().await);
        let ended = match ended {
            Ok(summary) => page(dir, summary).await,
            Err(error) => Err(error.to_string()),
        };
        (cell, ended)
    }
}

/// The run's own report, as `cellm run` writes it.
async fn page(dir: PathBuf, summary: Summary) -> Result<Summary, String> {
    let to = summary.report.clone();
    let written = blocking("the report", move || report::write(&[dir], &to, None)).await;
    match written {
        Ok(Ok(())) => Ok(summary),
        Ok(Err(error)) => Err(error.to_string()),
        Err(panic) => Err(panic.to_string()),
    }
}
