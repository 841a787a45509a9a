//! Policies in C: clang compiles them for wasm32 with the bindings and the small C library of the project, and wasm-ld
//! links. No WASI, no system headers but clang's own.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{PluginError, external_program};

const ADVICE: &str = "looked for clang with its WebAssembly target, and wasm-ld; on Debian `apt-get install clang-19 lld-19`, \
                      on macOS `brew install llvm lld`, or name the compiler in CELLM_CLANG";
/// Debian's names carry the version; the newest is accepted.
const VERSIONS: std::ops::RangeInclusive<u32> = 15..=30;
/// Every float operation rounds as written, so that all machines agree.
const FLAGS: [&str; 11] = [
    "--target=wasm32",
    "-std=c17",
    "-O3",
    "-msimd128",
    "-mbulk-memory",
    "-ffp-contract=off",
    "-nostdlib",
    "-Wall",
    "-Wno-unused-function",
    "-Wl,--no-entry",
    "-Wl,--strip-debug",
];

/// Compiles every .c file of the folder, and the bindings, into the module `into`.
pub(super) fn compile(dir: &Path, into: &Path) -> Result<(), PluginError> {
    let (clang, linker) = compiler()?;
    let support = dir.join("cellm/c");
    let own = sources(dir)?;
    let mut sources = own.clone();
    sources.extend(["policy.c", "policy_component_type.o", "libc/libc.c"].map(|file| support.join(file)));
    let mut command = Command::new(clang);
    command.args(FLAGS).arg("-isystem").arg(support.join("libc")).arg("-I").arg(&support);
    if let Some(linker) = linker {
        command.arg(format!("-fuse-ld={}", linker.display()));
    }
    match external_program::run(command.args(sources).arg("-o").arg(into)) {
        Err(error @ PluginError::Compiler { .. }) => Err(missing(dir, &own)?.unwrap_or(error)),
        done => done,
    }
}

/// The hooks that no source mentions, if there are any: the linker names them too, but not where they belong.
fn missing(dir: &Path, sources: &[PathBuf]) -> Result<Option<PluginError>, PluginError> {
    let read = |path: &Path| std::fs::read_to_string(path).map_err(PluginError::file("read", path));
    let text = sources.iter().map(|source| read(source)).collect::<Result<String, _>>()?;
    let header = read(&dir.join("cellm/c/policy.h"))?;
    let asked: Vec<&str> = header.lines().filter_map(hook).collect();
    let missing: Vec<&str> = asked.iter().copied().filter(|hook| !text.contains(&format!("{hook}("))).collect();
    let hooks =
        || PluginError::Hooks { file: dir.join("policy.c"), missing: missing.join(", "), asked: asked.join(", ") };
    Ok((!missing.is_empty()).then(hooks))
}

/// The hook that a line of the bindings declares: a function that the component exports.
fn hook(line: &str) -> Option<&str> {
    let declared = ["bool ", "void "].into_iter().find_map(|of| line.strip_prefix(of))?;
    let (name, _) = declared.split_once('(')?;
    (name.starts_with("exports_") && !name.ends_with("_free")).then_some(name)
}

fn sources(dir: &Path) -> Result<Vec<PathBuf>, PluginError> {
    let mut sources = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(PluginError::file("read", dir))? {
        let path = entry.map_err(PluginError::file("read", dir))?.path();
        if path.extension().is_some_and(|end| end == "c") {
            sources.push(path);
        }
    }
    sources.sort();
    Ok(sources)
}

/// A clang that knows wasm32, and the linker where clang would not find it by itself.
fn compiler() -> Result<(PathBuf, Option<PathBuf>), PluginError> {
    let named = std::env::var("CELLM_CLANG").ok();
    let candidates = named.map_or_else(candidates, |named| vec![named]);
    for clang in candidates.iter().filter_map(|name| external_program::find(name)) {
        let knows =
            external_program::output(&clang, &["--print-targets"]).is_some_and(|targets| targets.contains("wasm32"));
        if !knows {
            continue;
        }
        let own = external_program::output(&clang, &["--target=wasm32", "-print-prog-name=wasm-ld"]);
        if own.is_some_and(|linker| external_program::find(&linker).is_some()) {
            return Ok((clang, None));
        }
        let linkers = VERSIONS.rev().map(|version| format!("wasm-ld-{version}"));
        if let Some(linker) = linkers.into_iter().find_map(|name| external_program::find(&name)) {
            return Ok((clang, Some(linker)));
        }
    }
    Err(PluginError::NoCompiler { language: "C", advice: ADVICE.into() })
}

fn candidates() -> Vec<String> {
    let versions = VERSIONS.rev().map(|version| format!("clang-{version}"));
    let brewed = ["/opt/homebrew/opt/llvm/bin/clang", "/usr/local/opt/llvm/bin/clang"].map(String::from);
    versions.chain(["clang".to_owned()]).chain(brewed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_that_no_source_has_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("cellm/c")).unwrap();
        let header = include_str!("../../plugins/c/compressor/policy.h");
        std::fs::write(dir.path().join("cellm/c/policy.h"), header).unwrap();
        let source = include_str!("../../plugins/templates/c/compressor.c");
        let of = |source: &str| {
            std::fs::write(dir.path().join("policy.c"), source).unwrap();
            missing(dir.path(), &sources(dir.path()).unwrap()).unwrap().map(|error| error.to_string())
        };
        assert_eq!(of(source), None);
        let said = of(&source.replace("compressing_encode", "compressing_encod")).unwrap();
        assert!(
            said.contains("policy.c defines no exports_compressing_encode; the interface asks for exports_describ"),
            "{said}"
        );
    }
}
