//! Files and folders by their names: a path in; the format that a name tells, the files that a folder has and the part of a
//! data set that a name is out.

use std::path::{Path, PathBuf};

use super::{DataError, Format};

/// Names of folders that are parts of a data set and no classes, as `datasets` knows them.
const SPLITS: [(&str, &[&str]); 3] = [
    ("train", &["train", "training"]),
    ("test", &["test", "testing", "eval", "evaluation"]),
    ("validation", &["validation", "valid", "val", "dev"]),
];

/// The format of a file or folder, where the config does not say it; never [`Format::Auto`].
///
/// # Errors
/// A name that does not tell the format, and a folder that cannot be read.
pub(super) fn format(path: &Path, format: Format) -> Result<Format, DataError> {
    if format != Format::Auto {
        return Ok(format);
    }
    if path.is_dir() {
        let has = |beginning, ending| Ok::<_, DataError>(!named(path, beginning, ending)?.is_empty());
        return Ok(if has("data_batch_1", "bin")? {
            Format::Cifar10
        } else if has("", "parquet")? {
            Format::Parquet
        } else {
            let tables = ["jsonl", "json", "ndjson", "csv", "tsv", "txt", "gz", "zst"];
            let tables = tables.map(|ending| named(path, "", ending)).into_iter().collect::<Result<Vec<_>, _>>()?;
            // A folder of pictures may have a table that tells of them.
            let lies_beside = |file: &PathBuf| file.file_stem().is_some_and(|stem| stem == "metadata");
            if let Some(table) = tables.into_iter().flatten().find(|file| !lies_beside(file)) {
                let reason = format!("it is a folder; give one of its files, such as {}", table.display());
                return Err(DataError::Unreadable { name: path.display().to_string(), reason });
            }
            Format::ImageFolder
        });
    }
    let (name, packed) = (stem(path), path.file_name().unwrap_or_default().to_string_lossy().to_lowercase());
    match Path::new(&name).extension().unwrap_or_default().to_str() {
        Some("jsonl" | "json" | "ndjson") => Ok(Format::Jsonl),
        Some("csv" | "tsv") => Ok(Format::Csv),
        Some("txt") => Ok(Format::Txt),
        Some("parquet") if name == packed => Ok(Format::Parquet),
        Some("bin") if name == packed => Ok(Format::Cifar10),
        _ => Err(DataError::UnknownFormat { path: path.into() }),
    }
}

/// The name of a file without the ending of its packing, in small letters.
pub(super) fn stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(&name).to_owned()
}

/// A file itself, or the files of a folder with an ending, by name.
///
/// # Errors
/// A folder that cannot be read or has no such file.
pub(super) fn files(path: &Path, ending: &str) -> Result<Vec<PathBuf>, DataError> {
    if !path.is_dir() {
        return Ok(vec![path.into()]);
    }
    let found = named(path, "", ending)?;
    match found.is_empty() {
        true => Err(DataError::EmptyFolder { path: path.into(), what: format!("file that ends in .{ending}") }),
        false => Ok(found),
    }
}

/// The files of a folder whose names begin and end so, sorted; those that are hidden are none of them.
pub(super) fn named(folder: &Path, beginning: &str, ending: &str) -> Result<Vec<PathBuf>, DataError> {
    let mut found = visible(folder)?;
    found.retain(|path| {
        let begins = path.file_name().unwrap_or_default().to_string_lossy().starts_with(beginning);
        begins && path.extension().is_some_and(|end| end.eq_ignore_ascii_case(ending)) && path.is_file()
    });
    Ok(found)
}

/// What lies in a folder, sorted, without what tools hide there.
pub(super) fn visible(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let open = |source| DataError::Open { path: folder.into(), source };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(open)? {
        let path = entry.map_err(open)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !name.starts_with('.') && !name.starts_with("__") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The part of a data set that a name tells, where it tells one.
pub(super) fn split_of(name: &str) -> Option<&'static str> {
    let name = name.to_lowercase();
    let words: Vec<&str> = name.split(|c: char| !c.is_ascii_alphabetic()).collect();
    let is = |(_, known): &&(&str, &[&str])| known.iter().any(|known| words.contains(known));
    SPLITS.iter().find(is).map(|(split, _)| *split)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_whose_name_tells_no_format_is_named() {
        for name in ["/nowhere/a.xml", "/nowhere/a.parquet.gz", "/nowhere/jsonl"] {
            let error = format(Path::new(name), Format::Auto).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("data.format"), "{error}");
        }
    }
}
