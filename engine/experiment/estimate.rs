//! The cost of a grid before it is run: bytes from densities and bits, time from finished cells or from a short
//! calibration. Both are estimates; for the second pass each sweep's first point stands in for the chosen one.

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::{mpsc, watch};

use super::cell::CellState;
use super::{Cell, ExperimentError, Grid};
use crate::config::Config;
use crate::federation::{self, FederationError, Inputs, Start, Summary};
use crate::pool::blocking;

/// Clients of a calibration's only round.
const CALIBRATED: usize = 2;

/// The estimated cost of one study (a method in a setting).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Estimate {
    /// The method.
    pub method: String,
    /// Its setting; empty where there is one.
    pub setting: String,
    /// Points that its sweep has.
    pub points: usize,
    /// Its cells, in both passes.
    pub cells: usize,
    /// Those of them that are finished.
    pub finished: usize,
    /// Bytes of one run, both directions.
    pub bytes_a_run: u64,
    /// Seconds of one run.
    pub seconds_a_run: f64,
}

/// This machine's speed of training and of evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Pace {
    /// CPU seconds of a client's step.
    pub step_cpu_s: f64,
    /// CPU seconds of an evaluated round.
    pub evaluation_cpu_s: f64,
    /// Seconds of a run for each second that it should take by the two.
    pub stretch: f64,
    /// Finished cells that it comes from; 0 is a calibration.
    pub cells: usize,
}

/// Estimates every study. Cells that lie in `out` with another config are an error, as when the grid is run.
///
/// # Errors
/// [`ExperimentError`]; also what a calibration's run fails with.
pub async fn estimate(grid: &Grid, out: &Path) -> Result<(Vec<Estimate>, Pace), ExperimentError> {
    let first = grid.first_pass()?;
    let second = grid.second_pass(&vec![Some(0); grid.studies.len()])?;
    let mut finished = Vec::new();
    for cell in first.iter().chain(&second) {
        match cell.state(out) {
            Ok(CellState::Finished(summary)) => finished.push((cell, summary)),
            // Only a cell that cannot be read; running it says so.
            Ok(_) | Err(ExperimentError::Cell { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let inputs = Arc::new(Inputs::default());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let pace = match pace(finished.iter().map(|(cell, summary)| (&cell.config, summary.as_ref())), threads) {
        Some(pace) => pace,
        None => calibrate(grid, inputs.clone(), threads).await?,
    };
    let mut estimates = Vec::new();
    for (study, described) in grid.studies.iter().enumerate() {
        let cell = grid.cell(study, 0, grid.experiment.seeds[0])?;
        let bytes_a_run = bytes(&cell.config, inputs.clone()).await?;
        let of_study = |cell: &&Cell| cell.study == study;
        estimates.push(Estimate {
            method: grid.method(study).into(),
            setting: grid.settings[described.setting].title(),
            points: described.points.len(),
            cells: first.iter().chain(&second).filter(of_study).count(),
            finished: finished.iter().filter(|(cell, _)| cell.study == study).count(),
            bytes_a_run,
            seconds_a_run: pace.seconds(&cell.config, threads),
        });
    }
    Ok((estimates, pace))
}

impl Pace {
    fn seconds(&self, config: &Config, threads: usize) -> f64 {
        let work = self.step_cpu_s * steps(config) + self.evaluation_cpu_s * evaluations(config);
        self.stretch * work / threads as f64
    }
}

/// Local steps of a run; passes over a shard count as one, so runs with epochs are estimated from such runs alone.
fn steps(config: &Config) -> f64 {
    let client = &config.client;
    let each = if client.steps > 0 { client.steps } else { client.epochs };
    f64::from(config.run.rounds) * config.server.cohort as f64 * f64::from(each) * client.batch as f64
}

/// Evaluated rounds of a run, round 0 with them.
fn evaluations(config: &Config) -> f64 {
    let (every, rounds) = (config.server.eval_every, config.run.rounds);
    if every == 0 { 0.0 } else { f64::from(1 + rounds.div_ceil(every)) }
}

/// The pace of runs that came to their end in one go; none where there is none.
fn pace<'a>(runs: impl Iterator<Item = (&'a Config, &'a Summary)>, threads: usize) -> Option<Pace> {
    let (mut training, mut evaluation, mut seconds) = (0.0, 0.0, 0.0);
    let (mut all_steps, mut all_evaluations, mut cells) = (0.0, 0.0, 0);
    for (config, summary) in runs.filter(|(_, summary)| summary.timing.training_cpu_s > 0.0) {
        training += summary.timing.training_cpu_s;
        evaluation += summary.timing.evaluation_cpu_s;
        seconds += summary.seconds;
        all_steps += steps(config);
        all_evaluations += evaluations(config);
        cells += 1;
    }
    let each = |sum: f64, of: f64| if of > 0.0 { sum / of } else { 0.0 };
    let (step_cpu_s, evaluation_cpu_s) = (each(training, all_steps), each(evaluation, all_evaluations));
    let stretch = seconds * threads as f64 / (training + evaluation);
    (cells > 0).then_some(Pace { step_cpu_s, evaluation_cpu_s, stretch, cells })
}

/// One round of two clients with an evaluation before and after, in a directory that is removed again.
async fn calibrate(grid: &Grid, inputs: Arc<Inputs>, threads: usize) -> Result<Pace, ExperimentError> {
    let experiment = &grid.experiment;
    // The baseline is the method that is least like the others.
    let other = |study: &usize| grid.method(*study) != experiment.baseline;
    let study = (0..grid.studies.len()).find(other).unwrap_or(0);
    let Cell { mut config, .. } = grid.cell(study, 0, experiment.seeds[0])?;
    config.run.rounds = 1;
    config.server.cohort = config.server.cohort.min(CALIBRATED);
    config.server.eval_every = 1;
    config.metrics.listen = None;
    let dir = tempfile::tempdir();
    let dir = dir.map_err(|source| ExperimentError::File { path: std::env::temp_dir(), source })?;
    let start = Start {
        config: config.clone(),
        effective_toml: String::new(),
        run_dir: dir.path().join("calibration"),
        resume: false,
    };
    let (progress, _unheard) = mpsc::unbounded_channel();
    let (_never, stop) = watch::channel(false);
    let summary = federation::run_with(start, inputs, progress, stop).await?;
    let pace = pace([(&config, &summary)].into_iter(), threads);
    // Loading stretches one round as it does not stretch thirty.
    let unknown = Pace { step_cpu_s: 0.0, evaluation_cpu_s: 0.0, stretch: 1.0, cells: 0 };
    Ok(pace.map_or(unknown, |pace| Pace { stretch: 1.0, cells: 0, ..pace }))
}

/// Bytes of a run by its densities and bits: what a policy that uses both fully would send.
async fn bytes(config: &Config, inputs: Arc<Inputs>) -> Result<u64, ExperimentError> {
    let config = config.clone();
    let (loaded, config) =
        blocking("loading", move || (inputs.shards(&config), config)).await.map_err(FederationError::from)?;
    let values = loaded?.trainer().layout().values();
    let dense_frame = federation::dense_frame_length(values)? as f64;
    let tiers = &config.client.tiers;
    let frame = |density: f64, bits: u32| -> f64 {
        let frame = |density: f64| frame_bytes(values as f64, dense_frame, density, f64::from(bits));
        if tiers.is_empty() {
            return frame(density);
        }
        tiers.iter().map(|tier| tier.share * frame(tier.density.unwrap_or(density))).sum()
    };
    let down = frame(config.download.density, config.download.bits.into());
    let up = frame(config.upload.density, config.upload.bits.into());
    Ok((f64::from(config.run.rounds) * config.server.cohort as f64 * (down + up)) as u64)
}

/// A frame of `density * values` values of `bits`, with the fewest bits that name as many places at random.
fn frame_bytes(values: f64, dense_frame: f64, density: f64, bits: f64) -> f64 {
    let framing = dense_frame - 4.0 * values;
    let places = match density {
        0.0 | 1.0 => 0.0,
        share => values * (-share * share.log2() - (1.0 - share) * (1.0 - share).log2()),
    };
    framing + (values * density * bits + places) / 8.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_its_framing_its_values_and_the_entropy_of_their_places() {
        assert_eq!(frame_bytes(1000.0, 4050.0, 1.0, 32.0), 4050.0);
        assert_eq!(frame_bytes(1000.0, 4050.0, 1.0, 16.0), 2050.0);
        // Half of the places: one bit each.
        assert_eq!(frame_bytes(1000.0, 4050.0, 0.5, 32.0), 50.0 + 2000.0 + 125.0);
        let quarter = frame_bytes(1000.0, 4050.0, 0.25, 16.0);
        assert!((quarter - (50.0 + 500.0 + 811.278 / 8.0)).abs() < 0.01, "{quarter}");
    }

    #[test]
    fn time_grows_with_steps_and_evaluations_as_finished_runs_had_them() {
        let mut config = Config::default();
        (config.run.rounds, config.server.cohort, config.client.steps, config.client.batch) = (10, 4, 5, 1);
        config.server.eval_every = 5;
        assert_eq!((steps(&config), evaluations(&config)), (200.0, 3.0));
        let pace = Pace { step_cpu_s: 0.1, evaluation_cpu_s: 2.0, stretch: 1.5, cells: 1 };
        assert_eq!(pace.seconds(&config, 2), 1.5 * 26.0 / 2.0);
        config.server.eval_every = 0;
        assert_eq!(evaluations(&config), 0.0);
    }
}
