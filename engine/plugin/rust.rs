//! Policies in Rust: cargo compiles them for wasm32-unknown-unknown, with rustup's target, else with Debian's compiler and
//! the library's sources.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{PluginError, external_program};

const TARGET: &str = "wasm32-unknown-unknown";
const ADVICE: &str = "`rustup target add wasm32-unknown-unknown` adds the target to the toolchain in use; \
                      on Debian `apt-get install rustc-web cargo-web rust-web-src lld-19` does without rustup";

/// A way to compile.
enum Toolchain {
    /// The cargo on the path; its rustc has the target's library.
    Rustup,
    /// Debian's rustc-web, which builds the library too: minutes, once a machine.
    Debian,
}

/// Compiles the crate in the folder; gives the path of its module.
pub(super) fn compile(dir: &Path) -> Result<PathBuf, PluginError> {
    let toolchain = toolchain(dir)?;
    let library = library(&dir.join("Cargo.toml"))?;
    let (mut command, built) = match toolchain {
        Toolchain::Rustup => (Command::new("cargo"), dir.join("target")),
        Toolchain::Debian => {
            let mut command = Command::new("/usr/bin/cargo");
            command.env("RUSTC", "/usr/bin/rustc").env("RUSTC_BOOTSTRAP", "1");
            (command, cache().unwrap_or_else(|| dir.join("target")))
        }
    };
    command.current_dir(dir).args(["build", "--release", "--lib", "--target", TARGET, "--target-dir"]).arg(&built);
    if matches!(toolchain, Toolchain::Debian) {
        command.arg("-Zbuild-std=std,panic_abort");
    }
    command.env("CARGO_ENCODED_RUSTFLAGS", flags(&toolchain).join("\x1f")).env_remove("RUSTC_WRAPPER");
    external_program::run(&mut command)?;
    Ok(built.join(TARGET).join("release").join(format!("{library}.wasm")))
}

/// Nothing in them depends on the project, so that all projects share one build of the library, and paths stay out.
fn flags(toolchain: &Toolchain) -> Vec<String> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cargo")));
    let registry = home.unwrap_or_default().join("registry/src");
    let mut flags =
        vec!["-Ctarget-feature=+simd128".into(), format!("--remap-path-prefix={}=/cargo", registry.display())];
    if matches!(toolchain, Toolchain::Debian) {
        flags.push("-Clinker=wasm-ld-19".into());
    }
    flags
}

fn toolchain(dir: &Path) -> Result<Toolchain, PluginError> {
    let forced = env::var("CELLM_PLUGIN_TOOLCHAIN").ok();
    let missing = || PluginError::NoCompiler { language: "Rust", advice: ADVICE.into() };
    match forced.as_deref() {
        Some("rustup") => Ok(Toolchain::Rustup),
        Some("debian") => Ok(Toolchain::Debian),
        Some(other) => {
            let advice = format!("CELLM_PLUGIN_TOOLCHAIN is {other:?}, allowed: rustup, debian");
            Err(PluginError::NoCompiler { language: "Rust", advice })
        }
        None if has_rustup(dir) => Ok(Toolchain::Rustup),
        None if has_debian() => Ok(Toolchain::Debian),
        None => Err(missing()),
    }
}

fn has_rustup(dir: &Path) -> bool {
    // In the project, where rust-toolchain.toml may choose another one.
    let sysroot = Command::new("rustc").current_dir(dir).args(["--print", "sysroot"]).output();
    let Some(output) = sysroot.ok().filter(|output| output.status.success()) else { return false };
    let sysroot = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Path::new(&sysroot).join("lib/rustlib").join(TARGET).join("lib").is_dir()
}

fn has_debian() -> bool {
    ["/usr/bin/rustc", "/usr/bin/cargo", "/usr/bin/wasm-ld-19", "/usr/lib/rustlib/src/rust/library"]
        .into_iter()
        .all(|path| Path::new(path).exists())
}

/// The folder of the build cache that all projects share: the standard library that Debian's toolchain builds.
fn cache() -> Option<PathBuf> {
    let caches = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cache")));
    Some(caches?.join("cellm/plugins"))
}

/// The name of the crate's library, as rustc writes it.
fn library(manifest: &Path) -> Result<String, PluginError> {
    let text = std::fs::read_to_string(manifest).map_err(PluginError::file("read", manifest))?;
    let wrong = |reason: String| PluginError::Project { file: manifest.into(), reason };
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| wrong(error.message().to_owned()))?;
    let name = |section: &str| table.get(section)?.get("name")?.as_str();
    let name = name("lib").or_else(|| name("package")).ok_or_else(|| wrong("has no package.name".into()))?;
    Ok(name.replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_is_named_by_the_manifest() {
        let dir = tempfile::tempdir().unwrap();
        let manifest = dir.path().join("Cargo.toml");
        let of = |text: &str| {
            std::fs::write(&manifest, text).unwrap();
            library(&manifest).map_err(|error| error.to_string())
        };
        assert_eq!(of("[package]\nname = \"my-idea\"\n").unwrap(), "my_idea");
        assert_eq!(of("[package]\nname = \"a\"\n[lib]\nname = \"other\"\n").unwrap(), "other");
        assert!(of("[package]\n").unwrap_err().ends_with("Cargo.toml: has no package.name"));
        assert!(of("[package\n").is_err());
    }
}
