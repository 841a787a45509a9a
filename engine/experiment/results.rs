//! From the cells of a grid to the report's comparison: what is finished is read, what is not is said.

use std::path::{Path, PathBuf};

use super::cell::CellState;
use super::{ExperimentError, Failed, Grid};
use crate::report::{self, Comparison, Run, methods};

/// Reads every finished cell and writes the report. `chosen` has the point of each study that is reported.
///
/// # Errors
/// Cells that cannot be read, a report that cannot be written.
pub(super) fn write(
    grid: &Grid,
    out: &Path,
    chosen: &[Option<usize>],
    failed: &[Failed],
) -> Result<PathBuf, ExperimentError> {
    let experiment = &grid.experiment;
    let mut settings = Vec::new();
    for (number, setting) in grid.settings.iter().enumerate() {
        let studies = grid.studies.iter().enumerate().filter(|(_, study)| study.setting == number);
        let compared = studies.map(|(study, _)| method(grid, out, study, chosen[study]));
        let methods = compared.collect::<Result<_, _>>()?;
        settings.push(methods::Setting { title: setting.title(), methods });
    }
    let comparison = Comparison {
        title: experiment.name.clone(),
        about: experiment.about.clone(),
        metric: experiment.utility,
        baseline: experiment.baseline.clone(),
        target_of: experiment.target_of().into(),
        target_gain: experiment.target.gain,
        settings,
        failed: failed.iter().map(|failed| (failed.cell.clone(), failed.reason.clone())).collect(),
        cells: grid.cells(),
    };
    Ok(report::write_comparison(&comparison, out)?)
}

fn method(grid: &Grid, out: &Path, study: usize, chosen: Option<usize>) -> Result<methods::Method, ExperimentError> {
    let points = &grid.studies[study].points;
    let mut runs = Vec::new();
    for (point, seed) in grid.all_cells(study) {
        let cell = grid.cell(study, point, seed)?;
        // A cell of another time that the grid does not ask for any more may have any config.
        // One whose last rounds changed nothing has failed.
        if matches!(cell.state(out), Ok(CellState::Finished(summary)) if summary.in_vain().is_none()) {
            let run = Run::read(&cell.dir(out))?;
            runs.push(methods::SeededRun { point: points[point].title(), chosen: chosen == Some(point), seed, run });
        }
    }
    let described = &grid.experiment.methods[grid.studies[study].method];
    Ok(methods::Method {
        name: described.variant.name.clone(),
        group: described.group.clone(),
        points: points.len(),
        seeds: grid.experiment.seeds.clone(),
        chosen: chosen.filter(|_| points.len() > 1).map(|point| points[point].title()),
        runs,
    })
}
