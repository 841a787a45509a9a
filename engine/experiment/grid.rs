//! The grid: every combination of setting, method, sweep point and seed as a cell with a checked config and a name.

use std::collections::BTreeSet;
use std::path::Path;

use toml::Value;

use super::file::{Cohort, Experiment, Variant};
use super::{Cell, ExperimentError};
use crate::config::{Layers, Override};

/// Keys of each cell that the experiment sets itself.
const KEYS_SET_BY_GRID: [&str; 3] = ["run.seed", "run.name", "run.out"];

/// The most cells of an experiment: more would take years, and the grid itself all memory.
const MAX_CELLS: u64 = 10_000;

/// An experiment whose every config is valid.
#[derive(Debug, Clone)]
pub struct Grid {
    /// The file.
    pub experiment: Experiment,
    /// Every combination of a partition and a cohort; one without a name where the file has neither.
    pub settings: Vec<Setting>,
    /// Every method in every setting, settings outermost.
    pub studies: Vec<Study>,
    overrides: Vec<Override>,
}

/// A partition with a cohort: what methods are compared in. Nothing is compared across settings.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Its parts in the cells' names, such as `iid` and `8-of-24`; empty where the file has one setting.
    pub parts: Vec<String>,
    partition: Option<Variant>,
    cohort: Option<Cohort>,
}

/// One method in one setting.
#[derive(Debug, Clone)]
pub struct Study {
    /// Its setting's place in [`Grid::settings`].
    pub setting: usize,
    /// Its method's place in the experiment's methods.
    pub method: usize,
    /// The points that it is given; at least one.
    pub points: Vec<Point>,
}

/// One combination of swept values.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Keys with their values; empty where nothing is swept.
    pub values: Vec<(String, Value)>,
}

impl Setting {
    /// As people read it; empty where the file has one setting.
    pub fn title(&self) -> String {
        self.parts.join(", ").replace("-of-", " of ")
    }
}

impl Point {
    /// As people read it: `client.lr = 0.002, server.lr = 1`; empty where nothing is swept.
    pub fn title(&self) -> String {
        self.values.iter().map(|(key, value)| format!("{key} = {}", shown(value))).collect::<Vec<_>>().join(", ")
    }

    fn parts(&self) -> impl Iterator<Item = String> {
        self.values.iter().map(|(key, value)| plain(&format!("{key}={}", shown(value))))
    }
}

/// A value without the quotes of a text.
fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A part of a directory's name.
fn plain(text: &str) -> String {
    let kept = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '.' | '+' | '=');
    text.chars().map(|letter| if kept(letter) { letter } else { '-' }).collect()
}

impl Grid {
    /// Expands an experiment and checks the config of every cell. `overrides` are laid over all of them.
    ///
    /// # Errors
    /// [`ExperimentError`]: the first config that is wrong, with its cell; two cells of one name.
    pub fn new(experiment: Experiment, overrides: Vec<Override>) -> Result<Self, ExperimentError> {
        for given in &overrides {
            if KEYS_SET_BY_GRID.contains(&given.key.as_str()) {
                let (path, key) = (experiment.path.clone(), format!("{} {}", given.option, given.key));
                let (found, allowed) =
                    (given.value.clone(), "left to the experiment, which sets it for each cell".into());
                return Err(ExperimentError::Key { path, key, found, allowed });
            }
        }
        check_cell_count(&experiment)?;
        let settings = settings(&experiment);
        let mut studies = Vec::new();
        for setting in 0..settings.len() {
            for (method, described) in experiment.methods.iter().enumerate() {
                studies.push(Study { setting, method, points: points(&described.sweep) });
            }
        }
        let grid = Self { experiment, settings, studies, overrides };
        let mut names = BTreeSet::new();
        for study in 0..grid.studies.len() {
            for (point, seed) in grid.all_cells(study) {
                let name = grid.cell(study, point, seed)?.name;
                if !names.insert(name.clone()) {
                    return Err(ExperimentError::SameName { name });
                }
            }
        }
        Ok(grid)
    }

    /// The method of a study, as the file calls it.
    pub fn method(&self, study: usize) -> &str {
        &self.experiment.methods[self.studies[study].method].variant.name
    }

    /// The cells of the first pass: points of sweeps on the sweep's seeds; methods without a sweep on all seeds. Cells
    /// that share their setting and seed, and with them data, follow each other.
    ///
    /// # Errors
    /// As [`Grid::new`].
    pub fn first_pass(&self) -> Result<Vec<Cell>, ExperimentError> {
        let mut cells = Vec::new();
        for (study, described) in self.studies.iter().enumerate() {
            let seeds = if described.points.len() == 1 { &self.experiment.seeds } else { &self.experiment.sweep_seeds };
            for seed in seeds {
                for point in 0..described.points.len() {
                    cells.push(self.cell(study, point, *seed)?);
                }
            }
        }
        self.sort(&mut cells);
        Ok(cells)
    }

    /// The cells of the second pass: the chosen point of each swept study on the seeds that it has not had.
    ///
    /// # Errors
    /// As [`Grid::new`].
    pub fn second_pass(&self, chosen: &[Option<usize>]) -> Result<Vec<Cell>, ExperimentError> {
        let mut cells = Vec::new();
        for (study, point) in chosen.iter().enumerate().filter(|(study, _)| self.studies[*study].points.len() > 1) {
            let Some(point) = point else { continue };
            for seed in self.experiment.seeds.iter().filter(|seed| !self.experiment.sweep_seeds.contains(seed)) {
                cells.push(self.cell(study, *point, *seed)?);
            }
        }
        self.sort(&mut cells);
        Ok(cells)
    }

    /// Number of cells in both passes together.
    pub fn cells(&self) -> usize {
        let Experiment { seeds, sweep_seeds, .. } = &self.experiment;
        let later = seeds.iter().filter(|seed| !sweep_seeds.contains(seed)).count();
        let of = |study: &Study| match study.points.len() {
            1 => seeds.len(),
            points => points * sweep_seeds.len() + later,
        };
        self.studies.iter().map(of).sum()
    }

    /// One cell with its config.
    ///
    /// # Errors
    /// [`ExperimentError::Cell`].
    pub fn cell(&self, study: usize, point: usize, seed: u64) -> Result<Cell, ExperimentError> {
        let Study { setting, method, points } = &self.studies[study];
        let setting = &self.settings[*setting];
        let method = &self.experiment.methods[*method].variant;
        let parts = std::iter::once(method.name.clone()).chain(setting.parts.iter().cloned());
        let parts = parts.chain(points[point].parts()).chain([format!("seed={seed}")]);
        let name = parts.collect::<Vec<_>>().join("_");
        let mut overrides = self.overrides.clone();
        let mut set = |key: &str, value: String, option| overrides.push(Override { key: key.into(), value, option });
        if let Some(cohort) = setting.cohort {
            set("server.cohort", cohort.cohort.to_string(), "cohorts");
            cohort.clients.into_iter().for_each(|clients| set("partition.clients", clients.to_string(), "cohorts"));
        }
        points[point].values.iter().for_each(|(key, value)| set(key, value.to_string(), "sweep"));
        set("run.seed", seed.to_string(), "seeds");
        set("run.name", Value::String(name.clone()).to_string(), "cell");
        let tables =
            [Some(&self.experiment.common), setting.partition.as_ref().map(|of| &of.layer), Some(&method.layer)];
        let tables = tables.into_iter().flatten().cloned().collect();
        let layers = Layers { files: self.experiment.base.clone(), tables, overrides, ..Layers::default() };
        let loaded =
            layers.load().map_err(|source| ExperimentError::Cell { cell: name.clone(), source: source.into() })?;
        let effective_toml = loaded.to_toml();
        Ok(Cell { name, study, point, seed, config: loaded.config, effective_toml })
    }

    /// The file's folder, from which nothing but `base` is counted.
    pub fn path(&self) -> &Path {
        &self.experiment.path
    }

    /// Every point of a study with every seed, whether a pass asks for it or not.
    pub(super) fn all_cells(&self, study: usize) -> Vec<(usize, u64)> {
        let Experiment { seeds, sweep_seeds, .. } = &self.experiment;
        let all: BTreeSet<u64> = seeds.iter().chain(sweep_seeds).copied().collect();
        (0..self.studies[study].points.len()).flat_map(|point| all.iter().map(move |seed| (point, *seed))).collect()
    }

    fn sort(&self, cells: &mut [Cell]) {
        cells.sort_by_key(|cell| (self.studies[cell.study].setting, cell.seed, cell.study, cell.point));
    }
}

/// Checks the number of combinations before any of them is made.
fn check_cell_count(experiment: &Experiment) -> Result<(), ExperimentError> {
    let count = |of: usize| of.max(1) as u64;
    let settings = count(experiment.partitions.len()).saturating_mul(count(experiment.cohorts.len()));
    let seeds = count(experiment.seeds.len() + experiment.sweep_seeds.len());
    let points = |sweep: &[(String, Vec<Value>)]| {
        sweep.iter().fold(1, |all: u64, (_, values)| all.saturating_mul(values.len() as u64))
    };
    let of_methods = experiment.methods.iter().fold(0, |all: u64, of| all.saturating_add(points(&of.sweep)));
    let found = settings.saturating_mul(of_methods).saturating_mul(seeds);
    match found <= MAX_CELLS {
        true => Ok(()),
        false => Err(ExperimentError::Cells { path: experiment.path.clone(), found, limit: MAX_CELLS }),
    }
}

fn settings(experiment: &Experiment) -> Vec<Setting> {
    let partitions: Vec<Option<&Variant>> = match experiment.partitions.as_slice() {
        [] => vec![None],
        some => some.iter().map(Some).collect(),
    };
    let cohorts: Vec<Option<Cohort>> = match experiment.cohorts.as_slice() {
        [] => vec![None],
        some => some.iter().copied().map(Some).collect(),
    };
    let mut settings = Vec::new();
    for partition in &partitions {
        for cohort in &cohorts {
            let of_cohort = cohort.map(|Cohort { cohort, clients }| match clients {
                Some(clients) => format!("{cohort}-of-{clients}"),
                None => format!("cohort={cohort}"),
            });
            let parts = partition.map(|partition| partition.name.clone()).into_iter().chain(of_cohort).collect();
            settings.push(Setting { parts, partition: partition.cloned(), cohort: *cohort });
        }
    }
    settings
}

/// Every combination of the swept values, the last key changing fastest.
fn points(sweep: &[(String, Vec<Value>)]) -> Vec<Point> {
    let mut points = vec![Point { values: Vec::new() }];
    for (key, values) in sweep {
        let with = |point: &Point, value: &Value| {
            let values = point.values.iter().cloned().chain([(key.clone(), value.clone())]).collect();
            Point { values }
        };
        points = points.iter().flat_map(|point| values.iter().map(move |value| with(point, value))).collect();
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(text: &str) -> Result<Grid, ExperimentError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("grid.toml");
        std::fs::write(&path, text).unwrap();
        Grid::new(Experiment::read(&path)?, Vec::new())
    }

    const TEXT: &str = "seeds = [1, 2, 3]\nsweep = { \"client.lr\" = [1e-3, 2e-3], \"server.lr\" = [0.5, 1] }\n\
                        [methods.dense]\ndownload = { policy = \"dense\", bits = 32 }\n[methods.flasc]\nsweep = {}\n\
                        [run]\nrounds = 2\n";

    #[test]
    fn a_sweep_runs_on_its_seeds_and_its_winner_on_the_others() {
        let grid = grid(TEXT).unwrap();
        let first = grid.first_pass().unwrap();
        let names: Vec<&str> = first.iter().map(|cell| cell.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "dense_client.lr=0.001_server.lr=0.5_seed=1",
                "dense_client.lr=0.001_server.lr=1_seed=1",
                "dense_client.lr=0.002_server.lr=0.5_seed=1",
                "dense_client.lr=0.002_server.lr=1_seed=1",
                "flasc_seed=1",
                "flasc_seed=2",
                "flasc_seed=3",
            ]
        );
        let second = grid.second_pass(&[Some(2), Some(0)]).unwrap();
        let names: Vec<&str> = second.iter().map(|cell| cell.name.as_str()).collect();
        let chosen = ["dense_client.lr=0.002_server.lr=0.5_seed=2", "dense_client.lr=0.002_server.lr=0.5_seed=3"];
        assert_eq!(names, chosen);
        assert_eq!(grid.cells(), first.len() + second.len());
        assert!(grid.second_pass(&[None, Some(0)]).unwrap().is_empty(), "a sweep without a winner has no second pass");
    }

    #[test]
    fn a_cell_has_the_keys_of_all_its_parts() {
        let text = format!(
            "cohorts = [\"3 of 9\"]\n{TEXT}[partitions.iid]\npartition.kind = \"iid\"\n[partitions.natural]\npartition.kind = \"natural-id\"\n"
        );
        let grid = grid(&text).unwrap();
        assert_eq!(grid.settings.iter().map(Setting::title).collect::<Vec<_>>(), ["iid, 3 of 9", "natural, 3 of 9"]);
        let cell = grid.cell(0, 3, 7).unwrap();
        assert_eq!(cell.name, "dense_iid_3-of-9_client.lr=0.002_server.lr=1_seed=7");
        let config = &cell.config;
        assert_eq!((config.server.cohort, config.partition.clients, config.run.seed), (3, 9, 7));
        assert_eq!((config.client.lr, config.server.lr, config.run.rounds), (0.002, 1.0, 2));
        assert_eq!((config.download.policy.as_str(), config.upload.policy.as_str()), ("dense", "flasc"));
        assert_eq!(config.partition.kind, crate::data::partition::Kind::Iid);
        assert!(cell.effective_toml.contains("lr = 0.002  # sweep"), "{}", cell.effective_toml);
    }

    #[test]
    fn a_grid_of_too_many_cells_is_refused_before_it_is_made() {
        let values: Vec<String> = (1..=1000).map(|number| format!("{number}")).collect();
        let keys = ["client.lr", "server.lr", "server.tau", "client.weight_decay", "lora.alpha", "client.batch"];
        let sweep: Vec<String> = keys.iter().map(|key| format!("\"{key}\" = [{}]", values.join(", "))).collect();
        let error = grid(&format!("[methods.dense]\nsweep = {{ {} }}\n", sweep.join(", "))).unwrap_err().to_string();
        assert!(error.contains("2000000000000000000 cells, an experiment may have 10000"), "{error}");
    }

    #[test]
    fn a_wrong_config_is_named_with_its_cell_and_two_cells_never_share_a_name() {
        let wrong = grid("[methods.dense]\nserver.cohort = 0\n").unwrap_err();
        assert!(wrong.to_string().starts_with("cell dense_seed=1: server.cohort is 0"), "{wrong}");
        let unknown = grid("[methods.dense]\nuplod.bits = 1\n").unwrap_err().to_string();
        assert!(unknown.contains("uplod.bits") && unknown.contains("methods.dense, line 2"), "{unknown}");
        let twice = grid("[methods.dense]\nsweep = { \"client.lr\" = [1, 1] }\n").unwrap_err().to_string();
        assert!(twice.contains("dense_client.lr=1_seed=1"), "{twice}");
        let seed = Override::parse("run.seed=4").unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("g.toml"), "[methods.dense]\n").unwrap();
        let error = Grid::new(Experiment::read(&dir.path().join("g.toml")).unwrap(), vec![seed]).unwrap_err();
        assert!(error.to_string().contains("--set run.seed is 4"), "{error}");
    }
}
