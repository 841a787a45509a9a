//! Where a model lies: `model.path` in, a folder with its files out. A folder is taken as it is; the name of a model on the
//! Hugging Face hub gives the folder of the hub's cache, filled first where it is not whole.

use std::path::{Path, PathBuf};

use super::TrainerError;

/// How far the download of a model's file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Download<'a> {
    /// The file, as the hub names it.
    pub file: &'a str,
    /// Bytes that are here.
    pub bytes: u64,
    /// Bytes in all.
    pub of: u64,
}

/// A folder with a model's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Located {
    pub folder: PathBuf,
    /// What people and adapters call the model: the folder, or the name on the hub.
    pub name: String,
}

/// A model on the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HubName {
    /// `org/name`, or the name alone of the few old models that have no organization.
    pub name: String,
    /// Branch, tag or commit.
    pub revision: String,
}

/// Finds the folder; `tell` hears of every part of a file that arrives from the hub.
///
/// # Errors
/// [`TrainerError::Hub`] where there is neither such a folder nor such a model in the cache or on the hub.
pub(super) fn locate(path: &Path, tell: &mut dyn FnMut(Download)) -> Result<Located, TrainerError> {
    match HubName::parse(path) {
        Some(hub) if !path.is_dir() => {
            let failed = |reason| TrainerError::Hub { path: path.into(), reason };
            Ok(Located { folder: fetch(&hub, tell).map_err(failed)?, name: hub.name })
        }
        _ => Ok(Located { folder: path.into(), name: path.display().to_string() }),
    }
}

#[cfg(feature = "hub")]
fn fetch(hub: &HubName, tell: &mut dyn FnMut(Download)) -> Result<PathBuf, String> {
    super::hub::fetch(hub, tell)
}

#[cfg(not(feature = "hub"))]
fn fetch(_hub: &HubName, _tell: &mut dyn FnMut(Download)) -> Result<PathBuf, String> {
    Err("this binary was built without the cargo feature hub".into())
}

impl HubName {
    /// `org/name` and `hf://org/name[@revision]`; `None` for what can only be a folder.
    fn parse(path: &Path) -> Option<Self> {
        let text = path.to_str()?;
        let (text, marked) = match text.strip_prefix("hf://") {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        let (name, revision) = match text.split_once('@') {
            Some((name, revision)) if marked => (name, revision),
            _ => (text, "main"),
        };
        let plain = |part: &str| {
            let known = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
            !part.is_empty() && !part.starts_with(['.', '-']) && part.chars().all(known)
        };
        let parts = name.split('/').count();
        let fits = name.split('/').all(plain) && (parts == 2 || parts == 1 && marked);
        (fits && revision.split('/').all(plain)).then(|| Self { name: name.into(), revision: revision.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(path: &str) -> Option<(String, String)> {
        HubName::parse(Path::new(path)).map(|hub| (hub.name, hub.revision))
    }

    #[test]
    fn names_of_the_hub_are_told_from_folders() {
        let some = |name: &str, revision: &str| Some((name.to_owned(), revision.to_owned()));
        assert_eq!(parsed("org/name-1.5_b"), some("org/name-1.5_b", "main"));
        assert_eq!(parsed("hf://org/name"), some("org/name", "main"));
        assert_eq!(parsed("hf://org/name@v1.0"), some("org/name", "v1.0"));
        assert_eq!(parsed("hf://gpt2@refs/pr/7"), some("gpt2", "refs/pr/7"));
        for folder in
            ["name", "/a/b", "./a", "../a", "a/b/c", "a/", "hf://", "hf://a/b/c", "hf://a/..", "a b/c", "a/b@c"]
        {
            assert_eq!(parsed(folder), None, "{folder}");
        }
        assert_eq!(parsed("hf://a/b@../../c"), None);
    }

    #[test]
    fn a_folder_that_exists_is_never_looked_for_on_the_hub() {
        // The crate's own folders: a test runs in its root.
        let located = locate(Path::new("engine/trainer"), &mut |_| ()).unwrap();
        assert_eq!(located, Located { folder: "engine/trainer".into(), name: "engine/trainer".into() });
        let nowhere = locate(Path::new("/nowhere"), &mut |_| ()).unwrap();
        assert_eq!(nowhere.folder, Path::new("/nowhere"));
    }
}
