//! The files of a new project, compiled in: templates, and copies of what a policy is built against.

/// The languages that a policy can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// On the SDK, compiled by rustc.
    Rust,
    /// On componentize-py: CPython travels in the component.
    Python,
    /// On generated bindings, compiled by clang.
    C,
}

/// The kinds of policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Vectors to messages and back.
    Compressor,
    /// Many updates to one.
    Aggregator,
}

impl Language {
    /// As in the repository's folders and for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Python => "python",
            Self::C => "c",
        }
    }

    /// The file that is the policy.
    pub fn source(self) -> &'static str {
        match self {
            Self::Rust => "src/lib.rs",
            Self::Python => "policy.py",
            Self::C => "policy.c",
        }
    }

    fn extension(self) -> &'static str {
        match self {
            Self::Rust => "rs",
            Self::Python => "py",
            Self::C => "c",
        }
    }
}

impl Kind {
    /// As in the repository's files and in the WIT.
    pub fn name(self) -> &'static str {
        match self {
            Self::Compressor => "compressor",
            Self::Aggregator => "aggregator",
        }
    }

    /// The config section whose key `policy` names such a policy.
    pub fn section(self) -> &'static str {
        match self {
            Self::Compressor => "upload",
            Self::Aggregator => "aggregate",
        }
    }
}

/// Everything under the folders that `build.rs` names.
const FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/vendored.rs"));

/// The files of a project, each with its place in it.
pub(super) fn files(language: Language, kind: Kind, name: &str) -> Vec<(String, Vec<u8>)> {
    let filled = |text: &[u8]| fill(text, kind, name);
    FILES
        .iter()
        .filter_map(|(path, bytes)| Some((place(path, language, kind)?, path, bytes)))
        .map(|(place, path, bytes)| {
            (place, if path.starts_with("plugins/templates/") { filled(bytes) } else { bytes.to_vec() })
        })
        .collect()
}

/// The path of one of this repository's files in a project; none where the project does not need it.
fn place(path: &str, language: Language, kind: Kind) -> Option<String> {
    // Versions of the interface that were released lie in folders of their own: a new project is built for the latest.
    if path.starts_with("wit/") {
        return (path == "wit/policy.wit").then(|| format!("cellm/{path}"));
    }
    if let Some(file) = path.strip_prefix("plugins/templates/") {
        let file = file.strip_prefix(language.name())?.strip_prefix('/')?;
        return match file {
            "manifest.toml" => Some("Cargo.toml".into()),
            "lock.toml" => Some("Cargo.lock".into()),
            "gitignore" => Some(".gitignore".into()),
            "README.md" => Some(file.into()),
            _ => (file == format!("{}.{}", kind.name(), language.extension())).then(|| language.source().into()),
        };
    }
    match language {
        Language::Rust => {
            let sdk = path.starts_with("plugins/sdk/") || path.starts_with("plugins/kernels/");
            sdk.then(|| format!("cellm/{path}"))
        }
        Language::C => {
            let file = path.strip_prefix("plugins/c/")?;
            let (folder, inside) = file.split_once('/').unwrap_or(("", file));
            match folder {
                "libc" => Some(format!("cellm/c/{file}")),
                "" => inside.ends_with(".h").then(|| format!("cellm/c/{file}")),
                _ => (folder == kind.name()).then(|| format!("cellm/c/{inside}")),
            }
        }
        Language::Python => path.strip_prefix("plugins/python/").map(|file| format!("cellm/python/{file}")),
    }
}

/// Puts the names into a template, and leaves out what the kind does not have: aggregators are not measured.
fn fill(template: &[u8], kind: Kind, name: &str) -> Vec<u8> {
    let text = String::from_utf8_lossy(template);
    let fits = |line: &&str| kind == Kind::Compressor || !line.starts_with("cellm plugin bench");
    text.split_inclusive('\n')
        .filter(fits)
        .collect::<String>()
        .replace("NAME", name)
        .replace("USE.policy", &format!("{}.policy", kind.section()))
        .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(language: Language, kind: Kind) -> Vec<String> {
        files(language, kind, "mine").into_iter().map(|(place, _)| place).collect()
    }

    #[test]
    fn a_project_has_what_it_needs_and_nothing_of_other_languages() {
        for kind in [Kind::Compressor, Kind::Aggregator] {
            let rust = places(Language::Rust, kind);
            for file in ["Cargo.toml", "Cargo.lock", "src/lib.rs", ".gitignore", "README.md", "cellm/wit/policy.wit"] {
                assert!(rust.iter().any(|place| place == file), "{file} in {rust:?}");
            }
            assert!(rust.iter().any(|place| place == "cellm/plugins/sdk/src/lib.rs"));
            assert!(rust.iter().any(|place| place == "cellm/plugins/kernels/Cargo.toml"));
            assert!(!rust.iter().any(|place| place.contains("cellm/c/") || place.ends_with(".py")));
            let mut c = places(Language::C, kind);
            c.retain(|place| !place.starts_with("cellm/c/libc/"));
            c.sort();
            assert_eq!(
                c,
                [
                    ".gitignore",
                    "README.md",
                    "cellm/c/cellm.h",
                    "cellm/c/policy.c",
                    "cellm/c/policy.h",
                    "cellm/c/policy_component_type.o",
                    "cellm/wit/policy.wit",
                    "policy.c"
                ]
            );
            let mut python = places(Language::Python, kind);
            python.sort();
            assert_eq!(
                python,
                [".gitignore", "README.md", "cellm/python/cellm.py", "cellm/wit/policy.wit", "policy.py"]
            );
        }
    }

    #[test]
    fn the_bindings_of_c_are_of_this_wit() {
        let bytes = |path: &str| FILES.iter().find(|file| file.0 == path).unwrap().1;
        assert!(bytes("plugins/c/policy.wit") == bytes("wit/policy.wit"), "run plugins/c/bindings.sh");
    }

    #[test]
    fn templates_are_filled_in_and_the_rest_is_copied() {
        for language in [Language::Rust, Language::Python, Language::C] {
            for (place, bytes) in files(language, Kind::Aggregator, "mine") {
                if !place.starts_with("cellm/") {
                    let text = String::from_utf8(bytes).unwrap();
                    assert!(!text.contains("NAME") && !text.contains("USE."), "{place}");
                }
            }
            let readme = |kind| {
                let file = files(language, kind, "mine").into_iter().find(|file| file.0 == "README.md");
                String::from_utf8(file.unwrap().1).unwrap()
            };
            assert!(readme(Kind::Compressor).contains("plugin bench mine.wasm"));
            assert!(!readme(Kind::Aggregator).contains("plugin bench"), "it would be refused");
            let source = files(language, Kind::Compressor, "mine").into_iter().find(|file| file.0 == language.source());
            assert!(String::from_utf8(source.unwrap().1).unwrap().contains("mine: sends the values"));
        }
    }
}
