//! Policies in Python: componentize-py makes the component, with CPython in it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{PluginError, external_program};

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

/// A script that the interpreter beside componentize-py runs before policy.py is compiled: it imports policy.py with
/// the generated bindings and the standard library alone, and prints an error with its line.
const REHEARSAL: &str = r#"
import os, sys, traceback
project = sys.argv[1]
sys.path[:0] = [project, os.path.join(project, "cellm/python"), sys.argv[2]]
try:
    import policy
except SyntaxError as error:
    file = os.path.basename(error.filename or "policy.py")
    print(f"\n{file}, line {error.lineno}: {type(error).__name__}: {error.msg}")
    sys.exit(1)
except BaseException as error:
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(project + os.sep)]
    own = [f for f in frames if not f.filename.startswith(os.path.join(project, "cellm", ""))] or frames
    where = f"{os.path.relpath(own[-1].filename, project)}, line {own[-1].lineno}: " if own else ""
    print(f"\n{where}{type(error).__name__}: {error}")
    sys.exit(1)
"#;
/// Said where a module is missing.
const MODULES: &str = "a policy has the standard library and modules in pure Python that lie in its folder; packages with \
                       compiled parts, such as numpy, do not run in it";
/// The line of componentize-py's output from which on it tells its own frames, after Python's message.
const NATIVE: &str = "Stack backtrace:";

/// Makes the component of policy.py. `scratch` is a folder for what comes in between.
pub(super) fn compile(dir: &Path, scratch: &Path, into: &Path) -> Result<(), PluginError> {
    let program = program(dir)?;
    let worlds = worlds(&dir.join("policy.py"))?;
    let wit = scratch.join("wit");
    merge(&dir.join("cellm/wit/policy.wit"), &worlds, &wit)?;
    let command = |scope: &[&str]| {
        let mut command = Command::new(&program);
        // Where its own code was says nothing of the policy.
        command.current_dir(dir).env("RUST_BACKTRACE", "0").arg("-d").arg(&wit).args(["-w", "project"]).args(scope);
        command
    };
    let bindings = scratch.join("bindings");
    if let Some(interpreter) = interpreter(&program) {
        external_program::run_quietly(command(&["bindings"]).arg(&bindings), NATIVE)?;
        rehearse(&interpreter, dir, &bindings)?;
    }
    // Without WASI: files, clocks and a seed from outside are not there, and a policy that asks for them traps.
    let mut command = command(&["componentize", "policy", "-p", ".", "-p", "cellm/python", "--stub-wasi", "-o"]);
    external_program::run_quietly(command.arg(into), NATIVE)
}

/// Makes one world of those that the policy serves, `project`, in a copy of the WIT: given several, componentize-py 0.25.1
/// breaks down.
fn merge(wit: &Path, worlds: &[&str], into: &Path) -> Result<(), PluginError> {
    let text = std::fs::read_to_string(wit).map_err(PluginError::file("read", wit))?;
    let package = text.lines().find(|line| line.starts_with("package ")).unwrap_or_default();
    let includes: String = worlds.iter().map(|world| format!("  include {world};\n")).collect();
    let project = format!("{package}\n\nworld project {{\n{includes}}}\n");
    std::fs::create_dir_all(into).map_err(PluginError::file("make", into))?;
    for (name, text) in [("policy.wit", &text), ("project.wit", &project)] {
        let file = into.join(name);
        std::fs::write(&file, text).map_err(PluginError::file("write", &file))?;
    }
    Ok(())
}

/// The interpreter of the environment that componentize-py is installed in.
fn interpreter(program: &Path) -> Option<PathBuf> {
    let beside = program.parent()?;
    ["python3", "python"].into_iter().map(|name| beside.join(name)).find(|path| path.is_file())
}

/// Imports policy.py natively, a moment's work: what is wrong with it shows before the minutes that a component takes.
fn rehearse(interpreter: &Path, dir: &Path, bindings: &Path) -> Result<(), PluginError> {
    let mut command = Command::new(interpreter);
    // Isolated and without installed packages, as in the component; nothing is written into the project.
    command.args(["-I", "-S", "-B", "-c", REHEARSAL]).arg(dir).arg(bindings).stdin(Stdio::null());
    let done = command.output().map_err(PluginError::file("run", interpreter))?;
    let said = String::from_utf8_lossy(&done.stdout);
    // An interpreter that cannot even start says nothing of the policy.
    let Some(wrong) = said.lines().last().filter(|_| !done.status.success()) else { return Ok(()) };
    let advice = if wrong.contains("ModuleNotFoundError") { format!("; {MODULES}") } else { String::new() };
    Err(PluginError::Script { dir: dir.into(), reason: format!("{wrong}{advice}") })
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
    let found = candidates.iter().find_map(|candidate| external_program::find(candidate));
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

    /// Stand-ins for generated bindings, as far as the tests need them; of the rest they know every name.
    const ANY: &str = "def __getattr__(name):
    return type(name, (), {'__init__': lambda self, *given: setattr(self, 'value', given)})
";
    const TYPES: &str = "class LogLevel: ERROR, WARN, INFO, DEBUG = range(4)
class Description:
    def __init__(self, name, version, about, capabilities, options):
        self.name, self.version, self.about, self.capabilities, self.options = name, version, about, capabilities, options
";
    const HOST: &str = "from typing import List
class Vector:
    def __init__(self, len: int) -> None: pass
    def axpy(self, a: float, x: 'Self') -> None: pass
    def write(self, offset: int, values: List[float]) -> None: pass
class IndexSet:
    @classmethod
    def from_list(cls, space: int, indices: List[int]): return cls()
class Codes: pass
class Message: pass
said = []
def log(level, text: str) -> None: said.append(text)
def save(key: str, value: Vector) -> None: pass
forget = load = load_bytes = random_bits = save_bytes = save
";
    const ALGEBRA: &str = "def matmul(a): pass
svd_of_product = row_norms = column_norms = scale_rows = scale_columns = matmul
";

    /// A policy with the real cellm.py over these bindings; what its import says. Nothing where this machine has no Python.
    fn rehearsed(policy: &str) -> Option<Result<(), String>> {
        let interpreter = external_program::find("python3")?;
        let dir = tempfile::tempdir().unwrap();
        let error = "class Err(Exception):\n    def __init__(self, value): self.value = value\n";
        let types = [TYPES, ANY].concat();
        for (file, text) in [
            ("policy.py", policy),
            ("cellm/python/cellm.py", include_str!("../../plugins/python/cellm.py")),
            ("bindings/componentize_py_types.py", error),
            ("bindings/wit_world/imports/types.py", &types),
            ("bindings/wit_world/imports/host.py", HOST),
            ("bindings/wit_world/imports/algebra.py", ALGEBRA),
        ] {
            let file = dir.path().join(file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        }
        let said = rehearse(&interpreter, dir.path(), &dir.path().join("bindings"));
        Some(said.map_err(|error| error.to_string()))
    }

    /// The lines before the policy under test.
    const IDEA: &str = "import cellm, sys
class Idea:
    def describe(): return cellm.Description('idea', '0.1.0', 'About it.', cellm.Capabilities(0), [])
    def encode(self): pass
    def decode(self): pass
";

    #[test]
    fn a_sound_policy_is_rehearsed_in_silence() {
        let policy =
            format!("{IDEA}print('hello')\nDescribing = cellm.describing(Idea)\nC = cellm.compressing(Idea)\n");
        assert!(rehearsed(&policy).is_none_or(|said| said == Ok(())), "{:?}", rehearsed(&policy));
    }

    /// Runs a hook of an aggregator as the engine does; a typed error is told as a ValueError.
    const RUN: &str = "
def run(**hooks):
    for name in ('begin', 'accept', 'finish'):
        setattr(Idea, name, hooks.get(name, lambda self, *given: None))
    Idea.__init__ = lambda self, *given: None
    it = cellm.aggregating(Idea)()
    info = cellm.types.Info()
    info.loss = float('nan')
    try:
        it.init(None, [])
        it.accept(cellm.Vector(3), info)
        it.finish()
    except cellm.Err as error:
        raise ValueError(error.value.value[0])
    finally:
        sys.stdout = sys.__stdout__
";

    #[test]
    fn values_of_another_type_are_typed_errors_with_their_line_and_what_is_printed_is_forwarded() {
        for (hooks, wrong) in [
            (
                "accept=lambda self, update, info: update.axpy('a', update)",
                "line 22: TypeError: axpy: a is of type str",
            ),
            ("accept=lambda self, update, info: update.axpy(1.0, 2.0)", "x is of type float, expected Vector"),
            (
                "accept=lambda self, update, info: update.write(0, [1.0, 'a'])",
                "line 22: TypeError: write: values: must be ",
            ),
            ("accept=lambda self, update, info: update.write(-1, [])", "offset is -1, it must be at least 0"),
            (
                "accept=lambda self, update, info: cellm.IndexSet.from_list(4, [1 << 40])",
                "TypeError: from_list: indices: ",
            ),
            ("accept=lambda self, update, info: cellm.save(1, update)", "save: key is of type int, expected str"),
            ("accept=lambda self, update, info: cellm.Vector('a')", "TypeError: Vector: len is of type str"),
            ("accept=lambda self, update, info: 1 / 0", "policy.py, line 22: ZeroDivisionError: division by zero"),
            ("accept=lambda self, update, info: sys.exit(1)", "policy.py, line 22: SystemExit: 1"),
            ("finish=lambda self: [1.0]", "policy.py, line 22: <lambda>: its result is of type list, expected Vector"),
        ] {
            if let Some(said) = rehearsed(&format!("{IDEA}{RUN}run({hooks})\n")) {
                let said = said.unwrap_err();
                assert!(said.contains("ValueError: policy.py, line 22: ") && said.contains(wrong), "{hooks}: {said}");
            }
        }
        let prints = "run(accept=lambda self, update, info: print('loss', info.loss, '\\n\\nmore', end=''), \
                      finish=lambda self: cellm.Vector(3))\n\
                      assert cellm.host.said == ['loss None ', 'more'], cellm.host.said\n";
        assert!(rehearsed(&format!("{IDEA}{RUN}{prints}")).is_none_or(|said| said == Ok(())));
    }

    #[test]
    fn what_is_wrong_with_a_policy_is_told_with_its_line_before_it_is_compiled() {
        for (rest, wrong) in [
            ("def f(:\n", "policy.py, line 6: SyntaxError: "),
            ("import numpy\n", "policy.py, line 6: ModuleNotFoundError: No module named 'numpy'; a policy has the st"),
            ("x = Idea.y\n", "policy.py, line 6: AttributeError: "),
            (
                "del Idea.encode\nIdea.encod = 1\nC = cellm.compressing(Idea)\n",
                "policy.py, line 8: TypeError: Idea has no encode, which compressing asks for; it has describe, decode, encod",
            ),
            (
                "cellm.acknowledging(Idea)\n",
                "policy.py, line 6: TypeError: Idea has no on_ack, which acknowledging asks",
            ),
            (
                "Idea.describe = lambda: 1 / 0\ncellm.describing(Idea)\n",
                "policy.py, line 6: ZeroDivisionError: division by zero",
            ),
            (
                "cellm.count('k', 2.5, 'It.')\n",
                "line 6: TypeError: the default of option k is of type float, expected int",
            ),
            (
                "Idea.describe = lambda: 5\ncellm.describing(Idea)\n",
                "line 7: TypeError: what describe gives is of type int",
            ),
        ] {
            if let Some(said) = rehearsed(&format!("{IDEA}{rest}")) {
                let said = said.unwrap_err();
                assert!(said.contains(wrong), "{said}");
            }
        }
    }

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
