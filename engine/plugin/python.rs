//! Policies in Python: componentize-py makes the component, with CPython in it.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{PluginError, tool};

const ADVICE: &str = "looked for componentize-py in .venv, in the active virtual environment and on the path; \
                      `python3 -m venv .venv && .venv/bin/pip install componentize-py==0.25.1` in the project installs it, \
                      or name it in CELLM_COMPONENTIZE_PY";
/// The classes that a policy can have, and the world that asks for each.
const WORLDS: [(&str, &str); 6] = [
    ("Compressing", "compressor"),
    ("Aggregating", "aggregator"),
    ("Planning", "plans"),
    ("Acknowledging", "acknowledges"),
    ("CatchingUp", "catches-up"),
    ("Stepping", "steps"),
];

/// Makes the component of policy.py.
pub(super) fn compile(dir: &Path, into: &Path) -> Result<(), PluginError> {
    let program = program(dir)?;
    let mut command = Command::new(program);
    command.current_dir(dir).args(["-d", "cellm/wit"]);
    for world in worlds(&dir.join("policy.py"))? {
        command.args(["-w", world]);
    }
    // Without WASI: files, clocks and a seed from outside are not there, and a policy that asks for them traps.
    tool::run(command.args(["componentize", "policy", "-p", ".", "-p", "cellm/python", "--stub-wasi", "-o"]).arg(into))
}

fn program(dir: &Path) -> Result<PathBuf, PluginError> {
    let in_environment = |of: &Path| of.join("bin/componentize-py").display().to_string();
    let mut candidates = vec![in_environment(&dir.join(".venv"))];
    if let Some(active) = std::env::var_os("VIRTUAL_ENV") {
        candidates.push(in_environment(active.as_ref()));
    }
    candidates.push("componentize-py".into());
    if let Ok(named) = std::env::var("CELLM_COMPONENTIZE_PY") {
        candidates = vec![named];
    }
    let found = candidates.iter().find_map(|candidate| tool::find(candidate));
    // The command runs in the project, so that a relative path would no longer hold.
    let found = found.map(|path| std::path::absolute(&path).unwrap_or(path));
    found.ok_or(PluginError::NoCompiler { language: "Python", advice: ADVICE.into() })
}

/// The worlds that the classes of a policy serve.
fn worlds(file: &Path) -> Result<Vec<&'static str>, PluginError> {
    let text = std::fs::read_to_string(file).map_err(PluginError::file("read", file))?;
    let has = |class: &str| {
        text.lines().any(|line| {
            let rest = line.strip_prefix("class ").unwrap_or(line).strip_prefix(class);
            rest.is_some_and(|rest| rest.starts_with([':', '(', ' ', '=']))
        })
    };
    let served: Vec<&str> = WORLDS.iter().filter(|(class, _)| has(class)).map(|(_, world)| *world).collect();
    if served.is_empty() {
        let classes = WORLDS.map(|(class, _)| class).join(", ");
        return Err(PluginError::Project { file: file.into(), reason: format!("has none of the classes {classes}") });
    }
    Ok(served)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_say_which_worlds_are_served() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("policy.py");
        std::fs::write(
            &file,
            "class Describing:\n  pass\nclass Compressing(Base):\n  pass\nPlanning = cellm.planning(Idea)\n",
        )
        .unwrap();
        assert_eq!(worlds(&file).unwrap(), ["compressor", "plans"]);
        std::fs::write(&file, "class Describing: pass\n# class Compressing:\nclass CompressingMore: pass\n").unwrap();
        assert!(worlds(&file).unwrap_err().to_string().contains("has none of the classes Compressing"));
    }
}
