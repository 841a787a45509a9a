//! The folder of a model: `model.path` in, a folder with its files out. A folder is taken as it is; the name of a model
//! on the Hugging Face hub gives the folder of the hub's cache, filled first where it is not complete.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::TrainerError;
use super::hub_name::{Download, HubName};

/// A folder with a model's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ModelFolder {
    pub folder: PathBuf,
    /// The model's name for people and adapters: the folder, or the name on the hub.
    pub name: String,
}

/// The beginning of a git-lfs pointer, which stands for a file that was not fetched.
const POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";

/// Reads a small file of a model's folder.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, TrainerError> {
    check_file(path)?;
    std::fs::read(path).map_err(|source| TrainerError::Read { path: path.into(), source })
}

/// Refuses a file that cannot be read, and a git-lfs pointer.
pub(super) fn check_file(path: &Path) -> Result<(), TrainerError> {
    let failed = |source| TrainerError::Read { path: path.into(), source };
    let kind = std::fs::metadata(path).map_err(failed)?;
    let is = |what: &str| Err(TrainerError::File { path: path.into(), reason: what.into() });
    if kind.is_dir() {
        return is("it is a directory, not a file");
    }
    if !kind.is_file() {
        return is("it is a pipe or a device, not a file");
    }
    let mut start = Vec::new();
    let begin = File::open(path).and_then(|file| file.take(POINTER.len() as u64).read_to_end(&mut start));
    begin.map_err(failed)?;
    match start == POINTER {
        true => {
            is("it is a pointer of git-lfs, not the file: run git lfs pull in its folder, or download the file itself")
        }
        false => Ok(()),
    }
}

/// Reads a folder's tokenizer.json.
pub(super) fn read_tokenizer(path: &Path) -> Result<Vec<u8>, TrainerError> {
    let beside = |file: &str| path.with_file_name(file).exists();
    let other = ["tokenizer.model", "vocab.json", "vocab.txt"].into_iter().find(|file| beside(file));
    match other.filter(|_| !path.exists()) {
        Some(other) => {
            let folder = path.parent().unwrap_or(path).display().to_string();
            let reason = format!(
                "it is missing, and {other} alone is not read: write it with transformers, \
                 AutoTokenizer.from_pretrained({folder:?}) and save_pretrained"
            );
            Err(TrainerError::File { path: path.into(), reason })
        }
        None => read(path),
    }
}

/// Finds the model's folder; `tell` gets the progress of the download from the hub.
///
/// # Errors
/// [`TrainerError::Hub`] where there is neither such a folder nor such a model in the cache or on the hub.
pub(super) fn locate(path: &Path, tell: &mut dyn FnMut(Download)) -> Result<ModelFolder, TrainerError> {
    match HubName::parse(path) {
        Some(hub) if !path.is_dir() => {
            let failed = |reason| TrainerError::Hub { path: path.into(), reason };
            Ok(ModelFolder { folder: fetch(&hub, tell).map_err(failed)?, name: hub.name })
        }
        _ if path.is_dir() => Ok(ModelFolder { folder: path.into(), name: path.display().to_string() }),
        _ => Err(TrainerError::Folder { path: path.into(), reason: no_folder(path) }),
    }
}

/// The message for a path that is no folder, with the remedy.
fn no_folder(path: &Path) -> String {
    if path.exists() {
        return "is neither a folder nor a .gguf file: name the folder that config.json, tokenizer.json and model.safetensors lie in"
            .into();
    }
    let text = path.display();
    match HubName::parse(Path::new(&format!("hf://{text}"))) {
        Some(_) => {
            format!("there is no such folder; a model of the hub without an organization is written hf://{text}")
        }
        None => "there is no such folder".into(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_exists_is_never_looked_for_on_the_hub() {
        // The crate's own folders: a test runs in its root.
        let located = locate(Path::new("engine/trainer"), &mut |_| ()).unwrap();
        assert_eq!(located, ModelFolder { folder: "engine/trainer".into(), name: "engine/trainer".into() });
        let error = |path: &str| locate(Path::new(path), &mut |_| ()).unwrap_err().to_string();
        assert_eq!(error("/nowhere"), "model.path /nowhere: there is no such folder");
        assert_eq!(
            error("gpt2"),
            "model.path gpt2: there is no such folder; a model of the hub without an organization is written hf://gpt2"
        );
        assert!(error("Cargo.toml").starts_with("model.path Cargo.toml: is neither a folder nor a .gguf file: name"));
    }
}
