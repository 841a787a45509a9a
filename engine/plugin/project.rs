//! A policy's folder: made from a template, or found.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::PluginError;
use super::templates::{self, Kind, Language};
use crate::policy::PolicyHost;

/// The longest name.
const NAME_BYTES: usize = 40;
/// Names that a crate cannot have, or that would hide another one.
const TAKEN: [&str; 12] = [
    "alloc",
    "build",
    "cellm",
    "cellm-plugin",
    "cellm-kernels",
    "core",
    "deps",
    "examples",
    "half",
    "std",
    "test",
    "wit",
];
/// Words of the Rust language that would pass the other checks.
const KEYWORDS: [&str; 48] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn", "else",
    "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod",
    "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static", "struct", "super", "trait", "true",
    "try", "type", "typeof", "unsafe", "use", "where", "while",
];

/// A project that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// The policy's name: the last part of the folder's path.
    pub name: String,
    /// The file to edit, in the folder.
    pub source: &'static str,
}

/// Makes a project in `dir`, which must be empty or not there yet. The name of the folder becomes that of the policy.
///
/// # Errors
/// A name that a policy cannot have, a folder that is not empty, or what the file system says.
pub fn create(dir: &Path, language: Language, kind: Kind) -> Result<Created, PluginError> {
    let name = name_of(dir)?;
    match fs::read_dir(dir).map(|mut entries| entries.next().is_some()) {
        Ok(false) => {}
        Ok(true) => return Err(PluginError::NotEmpty { dir: dir.into() }),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(PluginError::file("read", dir)(error)),
    }
    for (place, bytes) in templates::files(language, kind, &name) {
        let file = dir.join(place);
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).map_err(PluginError::file("make", folder))?;
        }
        fs::write(&file, bytes).map_err(PluginError::file("write", &file))?;
    }
    Ok(Created { name, source: language.source() })
}

/// The language that the policy in a folder is written in.
///
/// # Errors
/// A folder that holds no policy, or no folder at all.
pub fn language_of(dir: &Path) -> Result<Language, PluginError> {
    if dir.is_file() {
        return Err(PluginError::NotAFolder { file: dir.into() });
    }
    let holds = |file: &str| dir.join(file).is_file();
    let found = [("Cargo.toml", Language::Rust), ("policy.c", Language::C), ("policy.py", Language::Python)];
    found
        .into_iter()
        .find(|(file, _)| holds(file))
        .map(|(_, language)| language)
        .ok_or_else(|| PluginError::NoProject { dir: dir.into() })
}

/// The last part of a path, if a policy can be named so.
fn name_of(dir: &Path) -> Result<String, PluginError> {
    let absolute = std::path::absolute(dir).unwrap_or_else(|_| PathBuf::from(dir));
    let name = absolute.file_name().unwrap_or_default().to_string_lossy().into_owned();
    match reason_against(&name) {
        None => Ok(name),
        Some(reason) => Err(PluginError::Name { name, reason }),
    }
}

fn reason_against(name: &str) -> Option<String> {
    let plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    if !name.chars().all(plain) || !name.starts_with(|first: char| first.is_ascii_lowercase()) || name.ends_with('-') {
        return Some("allowed are small letters, digits and - between them, a letter first".into());
    }
    if name.len() > NAME_BYTES {
        return Some(format!("it has {} letters, limit {NAME_BYTES}", name.len()));
    }
    if PolicyHost::builtin_names().any(|builtin| builtin == name) {
        return Some("a built-in policy has that name".into());
    }
    (TAKEN.contains(&name) || KEYWORDS.contains(&name))
        .then(|| "the word has a meaning of its own to the compiler".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_is_made_once_and_never_over_something() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("my-idea");
        for (language, file) in
            [(Language::Rust, "Cargo.toml"), (Language::C, "policy.c"), (Language::Python, "policy.py")]
        {
            let created = create(&dir, language, Kind::Compressor).unwrap();
            assert_eq!(created, Created { name: "my-idea".into(), source: language.source() });
            assert!(dir.join(file).is_file() && dir.join(created.source).is_file());
            assert_eq!(language_of(&dir).unwrap(), language);
            assert!(matches!(create(&dir, language, Kind::Compressor), Err(PluginError::NotEmpty { .. })));
            fs::remove_dir_all(&dir).unwrap();
        }
        assert!(matches!(language_of(parent.path()), Err(PluginError::NoProject { .. })));
        let file = parent.path().join("policy.c");
        fs::write(&file, "").unwrap();
        assert!(language_of(&file).unwrap_err().to_string().ends_with("expected the folder that it lies in"));
    }

    #[test]
    fn names_that_a_crate_or_a_report_cannot_have_are_refused() {
        for name in
            ["My-idea", "9lives", "-x", "x-", "a_b", "a b", "flasc", "fn", "std", "..", "ünder", &"x".repeat(41)]
        {
            assert!(name_of(&Path::new("/tmp").join(name)).is_err(), "{name}");
        }
        assert_eq!(name_of("some/where/idea-2".as_ref()).unwrap(), "idea-2");
    }
}
