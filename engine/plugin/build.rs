//! From a project to a component that the engine can load.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::templates::Language;
use super::{PluginError, c, project, python, rust};
use crate::policy::{Policy, PolicyHost, componentize};

/// A component that was built and loads.
#[derive(Debug)]
pub struct Built {
    /// The component: NAME.wasm in the project, NAME as the policy calls itself.
    pub file: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// What the host says about it.
    pub policy: Arc<Policy>,
}

/// Compiles the project in `dir`, makes a component of it, loads it as a run would and writes it into the project. What
/// compilers say goes to stderr.
///
/// # Errors
/// A missing or failing compiler, or a policy that the host does not take.
pub fn build(dir: &Path, host: &PolicyHost) -> Result<Built, PluginError> {
    let dir = &std::path::absolute(dir).map_err(PluginError::file("find", dir))?;
    let language = project::language_of(dir)?;
    let scratch = tempfile::tempdir().map_err(PluginError::file("make", Path::new("a folder for the build")))?;
    let made = scratch.path().join("policy.wasm");
    let component = match language {
        Language::Rust => component(&rust::compile(dir)?)?,
        Language::C => {
            c::compile(dir, &made)?;
            component(&made)?
        }
        Language::Python => {
            python::compile(dir, &made)?;
            read(&made)?
        }
    };
    let policy = host.load_bytes(&dir.display().to_string(), &component)?;
    let file = dir.join(format!("{}.wasm", policy.name));
    // Whole or not at all: a run may be watching the file.
    let beside = dir.join(format!(".{}.wasm", policy.name));
    fs::write(&beside, &component).map_err(PluginError::file("write", &beside))?;
    fs::rename(&beside, &file).map_err(PluginError::file("write", &file))?;
    Ok(Built { file, bytes: component.len() as u64, policy })
}

fn read(file: &Path) -> Result<Vec<u8>, PluginError> {
    fs::read(file).map_err(PluginError::file("read", file))
}

fn component(module: &Path) -> Result<Vec<u8>, PluginError> {
    componentize(&read(module)?).map_err(|reason| PluginError::Component { module: module.into(), reason })
}
