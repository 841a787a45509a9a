//! A TOML file with the line of each of its keys, and parts of it that can be laid over a config: what an experiment says of
//! one method is a config layer inside a larger file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::ConfigError;

/// The largest config file, bytes.
const FILE_BYTES: u64 = 1 << 20;

/// The most keys of a config file, tables among them.
const FILE_KEYS: usize = 10_000;

/// A TOML file.
#[derive(Debug, Clone)]
pub struct Document {
    /// The file that it was read from.
    pub path: PathBuf,
    /// Its text.
    pub table: toml::Table,
    /// Line of each dotted key, from 1.
    pub lines: BTreeMap<String, usize>,
}

/// Sections of a config that are no file of their own.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// The name in errors and origins, such as `grid.toml, methods.dense`.
    pub name: String,
    /// The sections.
    pub sections: toml::Table,
    /// Line of each dotted key, where it is known.
    pub lines: BTreeMap<String, usize>,
}

impl Document {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ConfigError::Read`], [`ConfigError::TooLarge`], or [`ConfigError::Syntax`] with the line.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let read = |source| ConfigError::Read { path: path.into(), source };
        let mut text = String::new();
        // A pipe or a device has no length to ask for.
        let read_bytes = File::open(path).and_then(|file| file.take(FILE_BYTES + 1).read_to_string(&mut text));
        if read_bytes.map_err(read)? as u64 > FILE_BYTES {
            let found = format!("more than {FILE_BYTES} bytes");
            return Err(ConfigError::TooLarge { path: path.into(), found, limit: format!("{FILE_BYTES}") });
        }
        let starts = line_starts(&text);
        let syntax = |span: Option<Range<usize>>, reason: &str| ConfigError::Syntax {
            path: path.into(),
            line: line_of(&starts, span.map_or(0, |span| span.start)),
            reason: reason.into(),
        };
        let spanned = toml::de::DeTable::parse(&text).map_err(|error| syntax(error.span(), error.message()))?;
        let table: toml::Table = toml::from_str(&text).map_err(|error| syntax(error.span(), error.message()))?;
        let mut lines = BTreeMap::new();
        collect_lines(&starts, "", spanned.get_ref(), &mut lines);
        if lines.len() > FILE_KEYS {
            let found = format!("{} keys", lines.len());
            return Err(ConfigError::TooLarge { path: path.into(), found, limit: format!("{FILE_KEYS}") });
        }
        Ok(Self { path: path.into(), table, lines })
    }

    /// `sections`, found below the dotted key `at` (empty: at the top), as a layer that knows its lines.
    pub fn layer(&self, at: &str, sections: toml::Table) -> Table {
        let path = self.path.display();
        if at.is_empty() {
            return Table { name: path.to_string(), sections, lines: self.lines.clone() };
        }
        let inside = |(key, line): (&String, &usize)| {
            let rest = key.strip_prefix(at)?.strip_prefix('.')?;
            Some((rest.to_owned(), *line))
        };
        Table { name: format!("{path}, {at}"), sections, lines: self.lines.iter().filter_map(inside).collect() }
    }
}

fn collect_lines(starts: &[usize], prefix: &str, table: &toml::de::DeTable<'_>, lines: &mut BTreeMap<String, usize>) {
    for (key, value) in table {
        let dotted = if prefix.is_empty() { key.get_ref().to_string() } else { format!("{prefix}.{}", key.get_ref()) };
        if let Some(inner) = value.get_ref().as_table() {
            collect_lines(starts, &dotted, inner, lines);
        }
        lines.insert(dotted, line_of(starts, key.span().start));
    }
}

/// The place of each line's first byte.
fn line_starts(text: &str) -> Vec<usize> {
    let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
    std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect()
}

/// The line, from 1, of the byte `at`.
fn line_of(starts: &[usize], at: usize) -> usize {
    starts.partition_point(|start| *start <= at)
}

#[cfg(test)]
mod tests {
    use super::super::{Layers, Override};
    use super::*;

    #[test]
    fn a_part_of_a_file_is_a_layer_over_the_files_and_its_values_know_their_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("grid.toml");
        std::fs::write(&path, "[server]\ncohort = 3\n[methods.a]\nserver.lr = 0.5\nclient = { lr = 0.1 }\n").unwrap();
        let document = Document::read(&path).unwrap();
        let part = document.table["methods"]["a"].as_table().unwrap().clone();
        let mut base = document.table.clone();
        base.remove("methods");
        let tables = vec![document.layer("", base), document.layer("methods.a", part)];
        let overrides = vec![Override { key: "client.lr".into(), value: "0.2".into(), option: "sweep" }];
        let loaded = Layers { tables, overrides, ..Layers::default() }.load().unwrap();
        assert_eq!((loaded.config.server.cohort, loaded.config.server.lr, loaded.config.client.lr), (3, 0.5, 0.2));
        assert_eq!(loaded.origin("server.lr"), format!("{}, methods.a, line 4", path.display()));
        assert_eq!(loaded.origin("server.cohort"), format!("{}, line 2", path.display()));
        assert_eq!(loaded.origin("client.lr"), "sweep");
    }

    #[test]
    fn a_file_beyond_a_limit_is_refused_and_said_by_how_much() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("large.toml");
        let refused = |text: String| {
            std::fs::write(&path, text).unwrap();
            Document::read(&path).unwrap_err().to_string()
        };
        let error = refused("# long\n".repeat(200_000));
        assert!(error.ends_with("large.toml has more than 1048576 bytes, a config file may have 1048576"), "{error}");
        let error = refused((0..10_000).map(|number| format!("[a.k{number}]\n")).collect());
        assert!(error.ends_with("has 10001 keys, a config file may have 10000"), "{error}");
        std::fs::write(&path, "[run]\nseed = 1\n\n# é\n[server]\nlr = 1\n").unwrap();
        let lines = Document::read(&path).unwrap().lines;
        assert_eq!((lines["run"], lines["run.seed"], lines["server"], lines["server.lr"]), (1, 2, 5, 6));
    }

    #[test]
    fn an_unknown_key_of_a_part_is_named_with_its_place() {
        let sections = "[uplod]\ndensity = 0.1".parse().unwrap();
        let table = Table { name: "g.toml, methods.x".into(), sections, lines: BTreeMap::new() };
        let error = Layers { tables: vec![table], ..Layers::default() }.load().unwrap_err().to_string();
        assert!(error.contains("`uplod.density` (g.toml, methods.x)") && error.contains("upload.density"), "{error}");
    }
}
