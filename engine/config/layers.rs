//! The layers and their merging: files, profile, environment and command line in; one checked [`Config`] with the origin of
//! every value out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::document::{Document, Table};
use super::parse::{defaults, nest, parse};
use super::unknown::{check, is_section};
use super::{Config, ConfigError};

const PREFIX: &str = "CELLM_";

/// A value from the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// Dotted key.
    pub key: String,
    /// Value text, with all its blanks; the key's type says how it is read.
    pub value: String,
    /// The option that gave it, such as `--set`.
    pub option: &'static str,
}

impl Override {
    /// Reads the `section.key=value` of a `--set`.
    ///
    /// # Errors
    /// [`ConfigError::Set`] without an equals sign or a section.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let wrong = || ConfigError::Set { found: text.into() };
        let (key, value) = text.split_once('=').ok_or_else(wrong)?;
        if key.split('.').count() < 2 || key.split('.').any(str::is_empty) {
            return Err(wrong());
        }
        Ok(Self { key: key.trim().into(), value: value.into(), option: "--set" })
    }
}

/// The sources of a config, from the weakest to the strongest.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    /// Files, lowest first; each must exist.
    pub files: Vec<PathBuf>,
    /// Tables laid over the files, lowest first.
    pub tables: Vec<Table>,
    /// Profile laid over the files.
    pub profile: Option<String>,
    /// Environment variables; those without the prefix `CELLM_` are ignored.
    pub environment: Vec<(String, String)>,
    /// Values of the command line, lowest first.
    pub overrides: Vec<Override>,
}

/// The effective config and where each of its values comes from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The config, validated.
    pub config: Config,
    figment: Figment,
    lines: Lines,
}

/// Line of a dotted key, by layer name.
type Lines = BTreeMap<String, BTreeMap<String, usize>>;

impl Layers {
    /// Reads, merges and validates.
    ///
    /// # Errors
    /// Any [`ConfigError`]; nothing is half-applied.
    pub fn load(&self) -> Result<Loaded, ConfigError> {
        let loaded = self.merge()?;
        loaded.config.validate().map_err(|error| loaded.with_origin(error))?;
        Ok(loaded)
    }

    /// As [`Self::load`], but of the values only those of the sections `data` and `partition` are checked: for commands that
    /// look at data and start no run.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_data(&self) -> Result<Loaded, ConfigError> {
        let loaded = self.merge()?;
        loaded.config.validate_data().map_err(|error| loaded.with_origin(error))?;
        Ok(loaded)
    }

    fn merge(&self) -> Result<Loaded, ConfigError> {
        let mut layers = Vec::new();
        let mut lines = Lines::new();
        let mut profiles: BTreeMap<String, Vec<Layer>> = BTreeMap::new();
        for path in &self.files {
            let file = File::read(path)?;
            for (name, dict) in file.profiles {
                let layer = Layer { name: format!("profile {name} in {}", path.display()), dict };
                profiles.entry(name).or_default().push(layer);
            }
            for name in profiles.keys() {
                let prefix = format!("profile.{name}.");
                let own = |(key, line): (&String, &usize)| Some((key.strip_prefix(&prefix)?.to_owned(), *line));
                let own = file.lines.iter().filter_map(own).collect();
                lines.insert(format!("profile {name} in {}", path.display()), own);
            }
            lines.insert(path.display().to_string(), file.lines);
            layers.push(Layer { name: path.display().to_string(), dict: file.dict });
        }
        for table in &self.tables {
            lines.insert(table.name.clone(), table.lines.clone());
            layers.push(Layer { name: table.name.clone(), dict: dict(&table.sections) });
        }
        // Every profile is checked, not only the chosen one: a typo should not wait for the day it is used.
        for layer in layers.iter().chain(profiles.values().flatten()) {
            check(&layer.dict, |key| place(&lines, &layer.name, key))?;
        }
        if let Some(name) = &self.profile {
            let known = profiles.keys().cloned().collect();
            let chosen = profiles.remove(name);
            layers.extend(chosen.ok_or_else(|| ConfigError::UnknownProfile { name: name.clone(), known })?);
        }
        layers.extend(self.environment_layers()?);
        for given in &self.overrides {
            let dict = nest(&given.key, parse(&given.key, &given.value));
            check(&dict, |_| given.option.to_owned())?;
            layers.push(Layer { name: given.option.into(), dict });
        }

        let defaults = Layer { name: "default".into(), dict: defaults() };
        let figment = layers.into_iter().fold(Figment::from(defaults), Figment::merge);
        let config = figment.extract().map_err(|error| type_error(error, &lines))?;
        Ok(Loaded { config, figment, lines })
    }

    fn environment_layers(&self) -> Result<Vec<Layer>, ConfigError> {
        let mut layers = Vec::new();
        for (name, value) in &self.environment {
            let Some(key) = name.strip_prefix(PREFIX) else { continue };
            let lower = key.to_lowercase();
            let Some((section, rest)) = lower.split_once("__") else {
                // A single underscore would be ignored in silence.
                match lower.split_once('_').filter(|(section, _)| is_section(section)) {
                    None => continue,
                    Some((section, rest)) => {
                        let meant = format!("{PREFIX}{}__{}", section.to_uppercase(), rest.to_uppercase());
                        return Err(ConfigError::Variable { name: name.clone(), meant });
                    }
                }
            };
            let dotted = format!("{section}.{}", rest.replace("__", "."));
            let layer = Layer { name: format!("environment {name}"), dict: nest(&dotted, parse(&dotted, value)) };
            check(&layer.dict, |_| layer.name.clone())?;
            layers.push(layer);
        }
        Ok(layers)
    }
}

impl Loaded {
    /// The origin of a dotted key's value: `default`, a file with its line, a profile, a variable or an option.
    pub fn origin(&self, key: &str) -> String {
        let name = self.figment.find_metadata(key).map_or("default", |metadata| metadata.name.as_ref());
        place(&self.lines, name, key)
    }

    /// True where nothing but the defaults set this key.
    pub fn is_default(&self, key: &str) -> bool {
        self.origin(key) == "default"
    }

    fn with_origin(&self, error: ConfigError) -> ConfigError {
        match error {
            ConfigError::Value { key, found, allowed, .. } => {
                let origin = format!(" ({})", self.origin(&key));
                ConfigError::Value { key, found, allowed, origin }
            }
            other => other,
        }
    }
}

fn place(lines: &Lines, name: &str, key: &str) -> String {
    let line = lines.get(name).and_then(|lines| {
        // A key inside an inline value has the line of the nearest key around it.
        let mut key = key;
        loop {
            match (lines.get(key), key.rsplit_once('.')) {
                (Some(line), _) => return Some(*line),
                (None, Some((parent, _))) => key = parent,
                (None, None) => return None,
            }
        }
    });
    line.map_or_else(|| name.to_owned(), |line| format!("{name}, line {line}"))
}

fn type_error(error: figment::Error, lines: &Lines) -> ConfigError {
    let key = error.path.join(".");
    let name = error.metadata.as_ref().map_or("default", |metadata| metadata.name.as_ref());
    ConfigError::Type { origin: place(lines, name, &key), reason: error.kind.to_string(), key }
}

/// One layer under its name.
#[derive(Debug, Clone)]
struct Layer {
    name: String,
    dict: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.dict.clone()))
    }
}

/// A config file taken apart.
struct File {
    dict: Dict,
    profiles: Vec<(String, Dict)>,
    lines: BTreeMap<String, usize>,
}

impl File {
    fn read(path: &Path) -> Result<Self, ConfigError> {
        let Document { table, lines, .. } = Document::read(path)?;
        if table.get("methods").is_some_and(toml::Value::is_table) {
            return Err(ConfigError::Experiment { path: path.into() });
        }
        let mut dict = dict(&table);
        let mut profiles = Vec::new();
        if let Some(found) = dict.remove("profile") {
            let at = lines.get("profile").copied().unwrap_or(1);
            let wrong = || ConfigError::Syntax {
                path: path.into(),
                line: at,
                reason: "a profile is a table `[profile.NAME.SECTION]`".into(),
            };
            for (name, value) in found.into_dict().ok_or_else(wrong)? {
                profiles.push((name, value.into_dict().ok_or_else(wrong)?));
            }
        }
        Ok(Self { dict, profiles, lines })
    }
}

/// A TOML table as figment sees it.
fn dict(table: &toml::Table) -> Dict {
    Value::serialize(table).ok().and_then(Value::into_dict).unwrap_or_default()
}

#[cfg(test)]
mod tests;
