//! Models of the Hugging Face hub by name: `model.path` in, the name and revision that it means out, if it can be one.

use std::path::Path;

/// A model on the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HubName {
    /// `org/name`, or the name alone of the few old models that have no organization.
    pub name: String,
    /// Branch, tag or commit.
    pub revision: String,
}

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

impl HubName {
    /// `org/name` and `hf://org/name[@revision]`; `None` for what can only be a folder.
    pub fn parse(path: &Path) -> Option<Self> {
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
}
