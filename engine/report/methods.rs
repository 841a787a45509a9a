//! The report of an experiment: methods compared over seeds, setting by setting. In: the runs of a grid. Out: `report.html`,
//! `table.md` and `cells.csv`.
//!
//! Every ratio is one against the baseline of the same setting and seed; nothing is compared across settings.

mod csv;
mod dot_plot;
mod page;
mod statistics;
mod table;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use super::run::Run;
use super::{EvaluationMetric, ReportError};

/// The contents of an experiment's report: settings (partition and cohort), their methods, and the runs of each.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// Heading.
    pub title: String,
    /// One paragraph; may be empty.
    pub about: String,
    /// The evaluation metric that gains and targets are computed from.
    pub metric: EvaluationMetric,
    /// The method that the others are measured against.
    pub baseline: String,
    /// The method whose end is the target.
    pub target_of: String,
    /// The share of its gain that reaches the target, in (0, 1].
    pub target_gain: f64,
    /// Each setting on its own.
    pub settings: Vec<Setting>,
    /// Cells that failed, with their reasons.
    pub failed: Vec<(String, String)>,
    /// Cells of the whole grid.
    pub cells: usize,
}

/// A partition with a cohort.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Its heading; empty where there is one setting.
    pub title: String,
    /// The methods, in the experiment's order.
    pub methods: Vec<Method>,
}

/// One method in one setting.
#[derive(Debug, Clone)]
pub struct Method {
    /// Its name.
    pub name: String,
    /// The chart that it is drawn in, beside the baseline.
    pub group: Option<String>,
    /// Points that its sweep was given; 1 where nothing was swept.
    pub points: usize,
    /// The seeds that are reported.
    pub seeds: Vec<u64>,
    /// The swept values that were chosen; none where nothing was swept, or nothing could be chosen.
    pub chosen: Option<String>,
    /// Its finished runs, of every point.
    pub runs: Vec<SeededRun>,
}

/// One finished run.
#[derive(Debug, Clone)]
pub struct SeededRun {
    /// The swept values; empty where nothing was swept.
    pub point: String,
    /// True for a run of the sweep's chosen point.
    pub chosen: bool,
    /// Its seed.
    pub seed: u64,
    /// The run directory's contents.
    pub run: Run,
}

impl Method {
    /// The runs that are reported: of the chosen point and the reported seeds, by seed.
    pub fn reported(&self) -> impl Iterator<Item = &SeededRun> {
        self.runs.iter().filter(|run| run.chosen && self.seeds.contains(&run.seed))
    }

    /// The reported run of a seed.
    pub fn of_seed(&self, seed: u64) -> Option<&Run> {
        self.reported().find(|run| run.seed == seed).map(|run| &run.run)
    }
}

impl Setting {
    /// A method by its name.
    pub fn method(&self, name: &str) -> Option<&Method> {
        self.methods.iter().find(|method| method.name == name)
    }
}

/// Writes all three files into `out` and tells where the page lies.
///
/// # Errors
/// A file that cannot be written.
pub fn write(comparison: &Comparison, out: &Path) -> Result<PathBuf, ReportError> {
    let page = out.join("report.html");
    for (path, text) in [
        (out.join("cells.csv"), csv::cells(comparison)),
        (out.join("table.md"), table::markdown(comparison)),
        (page.clone(), page::page(comparison)),
    ] {
        std::fs::write(&path, text).map_err(|source| ReportError::Write { path, source })?;
    }
    Ok(page)
}
