//! Programs that compile policies: found on the path, and run with their messages on stderr.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::PluginError;

/// The path of a program, given by a path that exists or by a name that is on the path.
pub(super) fn find(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(|path| path.is_file());
    }
    let name = format!("{program}{}", env::consts::EXE_SUFFIX);
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(&name)).find(|path| path.is_file())
}

/// The output of a program; none where it cannot be run or fails.
pub(super) fn output(program: &Path, arguments: &[&str]) -> Option<String> {
    let done = Command::new(program).args(arguments).stderr(Stdio::null()).output().ok()?;
    done.status.success().then(|| String::from_utf8_lossy(&done.stdout).trim().to_owned())
}

/// Runs a compiler that explains its failures at length: of what it says on stderr only the lines up to `end` are passed
/// on, and those only if it fails.
pub(super) fn run_quietly(command: &mut Command, end: &str) -> Result<(), PluginError> {
    let name = PathBuf::from(command.get_program());
    let done = command.stdin(Stdio::null()).output().map_err(PluginError::file("run", &name))?;
    if done.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    for line in said.lines().take_while(|line| !line.starts_with(end)) {
        eprintln!("{line}");
    }
    Err(PluginError::Compiler { command: name.display().to_string(), status: done.status.to_string() })
}

/// Runs a compiler to its end.
pub(super) fn run(command: &mut Command) -> Result<(), PluginError> {
    let name = PathBuf::from(command.get_program());
    let status =
        command.stdin(Stdio::null()).stdout(Stdio::null()).status().map_err(PluginError::file("run", &name))?;
    if status.success() {
        return Ok(());
    }
    Err(PluginError::Compiler { command: name.display().to_string(), status: status.to_string() })
}
