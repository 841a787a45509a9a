//! From a project to a component that the engine can load.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::templates::Language;
use super::{PluginError, c, project, python, rust};
use crate::policy::{Policy, PolicyHost, componentize};

/// A component that was built and loads.
#[derive(Debug)]
pub struct BuiltComponent {
    /// The component: in the project, and named like its folder, whatever the policy calls itself.
    pub file: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// The component as the host loaded it.
    pub policy: Arc<Policy>,
}

/// Compiles the project in `dir`, makes a component of it, loads it as a run would and writes it into the project. What
/// compilers say goes to stderr. A project that does not build loses the component of an earlier build: nobody is to try
/// that one for what the source says now.
///
/// # Errors
/// A missing or failing compiler, or a policy that the host does not take.
pub fn build(dir: &Path, host: &PolicyHost) -> Result<BuiltComponent, PluginError> {
    let dir = &fs::canonicalize(dir).map_err(PluginError::file("find", dir))?;
    let language = project::language_of(dir)?;
    let name = dir.file_name().unwrap_or_default().display().to_string();
    let file = dir.join(format!("{name}.wasm"));
    match compiled(dir, language, host) {
        Ok((component, policy)) => {
            // Whole or not at all: a run may be watching the file.
            let beside = dir.join(format!(".{name}.wasm"));
            fs::write(&beside, &component).map_err(PluginError::file("write", &beside))?;
            fs::rename(&beside, &file).map_err(PluginError::file("write", &file))?;
            Ok(BuiltComponent { file, bytes: component.len() as u64, policy })
        }
        // Without a compiler nothing was tried.
        Err(error @ PluginError::NoCompiler { .. }) => Err(error),
        Err(error) => match fs::remove_file(&file) {
            Err(other) if other.kind() != ErrorKind::NotFound => Err(PluginError::file("remove", &file)(other)),
            _ => Err(error),
        },
    }
}

/// The component of a project, and what the host says about it.
fn compiled(dir: &Path, language: Language, host: &PolicyHost) -> Result<(Vec<u8>, Arc<Policy>), PluginError> {
    let scratch = tempfile::tempdir().map_err(PluginError::file("make", Path::new("a folder for the build")))?;
    let made = scratch.path().join("policy.wasm");
    let component = match language {
        Language::Rust => component(&rust::compile(dir)?)?,
        Language::C => {
            c::compile(dir, &made)?;
            component(&made)?
        }
        Language::Python => {
            python::compile(dir, scratch.path(), &made)?;
            read(&made)?
        }
    };
    let policy = host.load_bytes(&dir.display().to_string(), &component)?;
    Ok((component, policy))
}

fn read(file: &Path) -> Result<Vec<u8>, PluginError> {
    fs::read(file).map_err(PluginError::file("read", file))
}

fn component(module: &Path) -> Result<Vec<u8>, PluginError> {
    componentize(&read(module)?).map_err(|reason| PluginError::Component { module: module.into(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{LimitsConfig, PolicyConfig};

    #[test]
    fn a_failed_build_takes_the_old_component_away() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("my-idea");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("Cargo.toml"), "[package]\n").unwrap();
        let old = dir.join("my-idea.wasm");
        fs::write(&old, "old").unwrap();
        let host = PolicyHost::new(&LimitsConfig::default(), &PolicyConfig::default()).unwrap();
        match build(&dir, &host).unwrap_err() {
            PluginError::NoCompiler { .. } => assert!(old.exists()),
            error => assert!(!old.exists() && error.to_string().contains("has no package.name"), "{error}"),
        }
    }
}
