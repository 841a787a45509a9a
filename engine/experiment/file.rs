//! The experiment file: TOML in; what is compared, on what, and how the winner is named, out.
//!
//! Its own keys stand beside the config's sections, which every cell has in common. No section has the name of such a key.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Value;

use super::ExperimentError;
use crate::config::{Document, Table};
use crate::report::EvaluationMetric;

/// Keys that are the experiment's own, at the top of the file.
const EXPERIMENT_KEYS: [&str; 12] = [
    "name",
    "base",
    "seeds",
    "sweep",
    "sweep_seeds",
    "methods",
    "partitions",
    "cohorts",
    "baseline",
    "target",
    "utility",
    "about",
];

/// A grid as its file describes it.
#[derive(Debug, Clone)]
pub struct Experiment {
    /// The file.
    pub path: PathBuf,
    /// Its name, by default that of the file.
    pub name: String,
    /// One paragraph for the report; may be empty.
    pub about: String,
    /// Config files below everything, lowest first.
    pub base: Vec<PathBuf>,
    /// The config sections of the file: what all cells have in common.
    pub common: Table,
    /// The methods, in the file's order.
    pub methods: Vec<Method>,
    /// Ways to split the data, in the file's order; empty where all cells take the common one.
    pub partitions: Vec<Variant>,
    /// Cohorts; empty where all cells take the common one.
    pub cohorts: Vec<Cohort>,
    /// Seeds of the runs that are reported.
    pub seeds: Vec<u64>,
    /// Seeds on which the points of a sweep are compared.
    pub sweep_seeds: Vec<u64>,
    /// The method that the others are measured against.
    pub baseline: String,
    /// The target, as a share of a method's gain.
    pub target: Target,
    /// The evaluation metric that methods are compared by.
    pub utility: EvaluationMetric,
}

/// One method.
#[derive(Debug, Clone)]
pub struct Method {
    /// Its name and its config keys.
    pub variant: Variant,
    /// The chart that it is drawn in, beside the baseline; methods without one share charts in the file's order.
    pub group: Option<String>,
    /// Keys with the values that are tried, in the file's order; empty where there is one point.
    pub sweep: Vec<(String, Vec<Value>)>,
}

/// A named table of config keys.
#[derive(Debug, Clone)]
pub struct Variant {
    /// Its name: letters, digits, `-`, `.`, `+`.
    pub name: String,
    /// Its keys as a config layer.
    pub layer: Table,
}

/// Clients a round, out of how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cohort {
    /// `server.cohort`.
    pub cohort: usize,
    /// `partition.clients`, where the entry says `10 of 100`.
    pub clients: Option<usize>,
}

/// The target: the share of a method's gain in the evaluation metric that counts as reaching it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The method whose gain is the target; by default the baseline.
    #[serde(default)]
    pub of: Option<String>,
    /// The share of its gain that is enough, in (0, 1].
    #[serde(default = "whole_gain")]
    pub gain: f64,
}

fn whole_gain() -> f64 {
    1.0
}

/// The experiment's own keys as the file has them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExperimentKeys {
    name: Option<String>,
    #[serde(default)]
    about: String,
    #[serde(default)]
    base: Vec<PathBuf>,
    #[serde(default = "one_seed")]
    seeds: Vec<u64>,
    #[serde(default)]
    sweep: toml::Table,
    sweep_seeds: Option<Vec<u64>>,
    methods: toml::Table,
    #[serde(default)]
    partitions: toml::Table,
    #[serde(default)]
    cohorts: Vec<Value>,
    baseline: Option<String>,
    target: Option<Target>,
    #[serde(default)]
    utility: EvaluationMetric,
}

fn one_seed() -> Vec<u64> {
    vec![1]
}

impl Experiment {
    /// Reads a file. Its configs are not checked yet: that is [`super::Grid::new`]'s.
    ///
    /// # Errors
    /// [`ExperimentError`] naming the file and the key.
    pub fn read(path: &Path) -> Result<Self, ExperimentError> {
        let document = Document::read(path)?;
        if !document.table.contains_key("methods") {
            return Err(ExperimentError::NoMethods { path: path.into() });
        }
        let mut sections = document.table.clone();
        let taken = |key: &&str| Some(((*key).to_owned(), sections.remove(*key)?));
        let own: toml::Table = EXPERIMENT_KEYS.iter().filter_map(taken).collect();
        let shape =
            |reason: toml::de::Error| ExperimentError::Shape { path: path.into(), reason: reason.message().into() };
        let own: ExperimentKeys = own.try_into().map_err(shape)?;
        let reader = Reader { document: &document };
        let shared = reader.sweep("sweep", own.sweep)?;
        let variants = reader.variants("methods", own.methods)?;
        let methods = variants.into_iter().map(|variant| reader.method(variant, &shared)).collect::<Result<_, _>>()?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let stem = path.file_stem().map_or_else(|| "experiment".into(), |stem| stem.to_string_lossy().into_owned());
        let sweep_seeds = own.sweep_seeds.unwrap_or_else(|| own.seeds.iter().take(1).copied().collect());
        let experiment = Self {
            name: own.name.unwrap_or(stem),
            about: own.about,
            base: own.base.iter().map(|base| folder.join(base)).collect(),
            common: document.layer("", sections),
            partitions: reader.variants("partitions", own.partitions)?,
            cohorts: own.cohorts.iter().map(|cohort| reader.cohort(cohort)).collect::<Result<_, _>>()?,
            seeds: own.seeds,
            sweep_seeds,
            baseline: own.baseline.unwrap_or_else(|| "dense".into()),
            target: own.target.unwrap_or(Target { of: None, gain: 1.0 }),
            utility: own.utility,
            methods,
            path: path.into(),
        };
        experiment.check(&reader)?;
        Ok(experiment)
    }

    /// The method whose gain is the [`Target`].
    pub fn target_of(&self) -> &str {
        self.target.of.as_deref().unwrap_or(&self.baseline)
    }

    fn check(&self, reader: &Reader<'_>) -> Result<(), ExperimentError> {
        let known: Vec<&str> = self.methods.iter().map(|method| method.variant.name.as_str()).collect();
        let one_of = format!("one of the methods: {}", known.join(", "));
        if known.is_empty() {
            return Err(reader.wrong("methods", "empty", "at least one table `[methods.NAME]`"));
        }
        for (key, name) in [("baseline", self.baseline.as_str()), ("target.of", self.target_of())] {
            if !known.contains(&name) {
                return Err(reader.wrong(key, format!("`{name}`"), one_of.as_str()));
            }
        }
        if !(self.target.gain > 0.0 && self.target.gain <= 1.0) {
            return Err(reader.wrong("target.gain", self.target.gain.to_string(), "in (0, 1]"));
        }
        for (key, seeds) in [("seeds", &self.seeds), ("sweep_seeds", &self.sweep_seeds)] {
            let twice = seeds.iter().enumerate().any(|(at, seed)| seeds[..at].contains(seed));
            if seeds.is_empty() || twice {
                return Err(reader.wrong(key, format!("{seeds:?}"), "at least one seed, each once"));
            }
        }
        Ok(())
    }
}

/// Takes the file apart; every error names it.
struct Reader<'a> {
    document: &'a Document,
}

impl Reader<'_> {
    fn wrong(&self, key: &str, found: impl Into<String>, allowed: impl Into<String>) -> ExperimentError {
        let (path, key) = (self.document.path.clone(), key.to_owned());
        ExperimentError::Key { path, key, found: found.into(), allowed: allowed.into() }
    }

    /// The tables below `key`, in the file's order.
    fn variants(&self, key: &str, tables: toml::Table) -> Result<Vec<Variant>, ExperimentError> {
        let mut variants = Vec::new();
        for (name, value) in tables {
            let at = format!("{key}.{name}");
            let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '.' | '+');
            if name.is_empty() || !name.chars().all(plain) || name.starts_with('.') {
                return Err(self.wrong(
                    &at,
                    format!("`{name}`"),
                    "a name of letters, digits, - . +, as directories have it",
                ));
            }
            let Value::Table(sections) = value else {
                return Err(self.wrong(&at, value.to_string(), "a table of config keys"));
            };
            let layer = self.document.layer(&at, sections);
            variants.push((self.line(&at), Variant { name, layer }));
        }
        variants.sort_by_key(|(line, _)| *line);
        Ok(variants.into_iter().map(|(_, variant)| variant).collect())
    }

    fn line(&self, key: &str) -> usize {
        // The first line that names anything of it: a table can be opened by its parts.
        let inside = |known: &str| known.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        let lines = self.document.lines.iter().filter(|(known, _)| inside(known)).map(|(_, line)| *line);
        lines.min().unwrap_or(usize::MAX)
    }

    fn method(&self, mut variant: Variant, shared: &[(String, Vec<Value>)]) -> Result<Method, ExperimentError> {
        let at = |key: &str| format!("methods.{}.{key}", variant.name);
        let sweep = match variant.layer.sections.remove("sweep") {
            None => shared.to_vec(),
            Some(Value::Table(table)) => self.sweep(&at("sweep"), table)?,
            Some(other) => {
                return Err(self.wrong(&at("sweep"), other.to_string(), "a table of keys with their values"));
            }
        };
        let group = match variant.layer.sections.remove("group") {
            None => None,
            Some(Value::String(group)) => Some(group),
            Some(other) => return Err(self.wrong(&at("group"), other.to_string(), "the name of a chart")),
        };
        Ok(Method { variant, group, sweep })
    }

    /// Keys with the values that are tried. A key is written in quotes, `"client.lr" = [...]`, or as nested tables.
    fn sweep(&self, at: &str, table: toml::Table) -> Result<Vec<(String, Vec<Value>)>, ExperimentError> {
        let mut found = Vec::new();
        self.flatten(at, "", table, &mut found)?;
        Ok(found)
    }

    fn flatten(
        &self,
        at: &str,
        prefix: &str,
        table: toml::Table,
        found: &mut Vec<(String, Vec<Value>)>,
    ) -> Result<(), ExperimentError> {
        for (key, value) in table {
            let dotted = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
            let place = format!("{at}.{dotted}");
            match value {
                Value::Table(inner) => self.flatten(at, &dotted, inner, found)?,
                Value::Array(values) if !values.is_empty() && dotted.contains('.') => {
                    if ["run.seed", "run.name", "run.out"].contains(&dotted.as_str()) {
                        return Err(self.wrong(&place, "swept", "left to the experiment, which sets it for each cell"));
                    }
                    found.push((dotted, values));
                }
                other => return Err(self.wrong(&place, other.to_string(), "a list of values of a key `section.key`")),
            }
        }
        Ok(())
    }

    /// `10`, or `10 of 100`.
    fn cohort(&self, value: &Value) -> Result<Cohort, ExperimentError> {
        let parsed = match value {
            Value::Integer(cohort) => usize::try_from(*cohort).ok().map(|cohort| Cohort { cohort, clients: None }),
            Value::String(text) => text.split_once(" of ").and_then(|(cohort, clients)| {
                Some(Cohort { cohort: cohort.trim().parse().ok()?, clients: Some(clients.trim().parse().ok()?) })
            }),
            _ => None,
        };
        parsed.ok_or_else(|| {
            self.wrong("cohorts", value.to_string(), "numbers such as 10, or texts such as \"10 of 100\"")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Experiment, ExperimentError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("grid.toml");
        std::fs::write(&path, text).unwrap();
        Experiment::read(&path)
    }

    fn error(text: &str) -> String {
        read(text).unwrap_err().to_string()
    }

    #[test]
    fn methods_keep_the_files_order_and_share_the_sweep_unless_they_have_their_own() {
        let text = "base = [\"x.toml\"]\nsweep = { \"client.lr\" = [1e-3, 2e-3] }\n[methods.dense]\nupload.bits = 32\n\
                    [methods.a]\nsweep = { server.lr = [1] }\ngroup = \"g\"\n[run]\nrounds = 3\n";
        let experiment = read(text).unwrap();
        let names: Vec<&str> = experiment.methods.iter().map(|method| method.variant.name.as_str()).collect();
        assert_eq!(names, ["dense", "a"]);
        assert_eq!(experiment.methods[0].sweep[0].0, "client.lr");
        assert_eq!(experiment.methods[0].sweep[0].1.len(), 2);
        assert_eq!(experiment.methods[1].sweep, [("server.lr".to_owned(), vec![Value::Integer(1)])]);
        assert_eq!(experiment.methods[1].group.as_deref(), Some("g"));
        assert!(experiment.methods[1].variant.layer.sections.is_empty());
        assert!(experiment.common.sections.contains_key("run") && experiment.common.sections.len() == 1);
        assert_eq!(
            (experiment.name.as_str(), &experiment.seeds, &experiment.sweep_seeds),
            ("grid", &vec![1], &vec![1])
        );
        assert!(experiment.base[0].ends_with("x.toml") && experiment.base[0].is_absolute());
    }

    #[test]
    fn a_cohort_is_a_number_or_a_number_of_clients() {
        let experiment = read("cohorts = [8, \"10 of 100\"]\n[methods.dense]\n").unwrap();
        let expected = [Cohort { cohort: 8, clients: None }, Cohort { cohort: 10, clients: Some(100) }];
        assert_eq!(experiment.cohorts, expected);
        assert!(error("cohorts = [\"ten\"]\n[methods.dense]\n").contains("cohorts is \"ten\""));
    }

    #[test]
    fn what_is_wrong_is_named_with_the_file() {
        assert!(error("[methods.a]\n").contains("baseline is `dense`, it must be one of the methods: a"));
        assert!(error("[methods.dense]\n[target]\ngain = 2.0\n").contains("target.gain is 2, it must be in (0, 1]"));
        assert!(error("seeds = [1, 1]\n[methods.dense]\n").contains("seeds is [1, 1]"));
        assert!(error("[methods.\"a b\"]\n").contains("methods.a b is `a b`"));
        assert!(
            error("[methods.dense]\nsweep = { \"client.lr\" = 1 }\n").contains("methods.dense.sweep.client.lr is 1")
        );
        assert!(error("[methods.dense]\nsweep = { \"run.seed\" = [1] }\n").contains("left to the experiment"));
        assert!(error("methods = 3\n").contains("grid.toml"));
        let config = error("[run]\nrounds = 3\n");
        assert!(config.contains("describes no experiment") && config.contains("cellm run --config "), "{config}");
    }
}
