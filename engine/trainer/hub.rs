//! Models of the Hugging Face hub: a name in, the folder of the hub's cache that holds its files out. The cache is the one
//! that the Python tools use (HF_HOME); what is whole there is not asked for again, so a filled cache needs no network.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use hf_hub::api::Progress;
use hf_hub::api::sync::{ApiBuilder, ApiRepo};
use hf_hub::{Cache, Repo, RepoType};
use serde::Deserialize;

use super::hub_name::{Download, HubName};

/// Files that are fetched where the model has them; the weights come after them, so that a cache that has the weights has
/// everything.
const SMALL: [&str; 6] = [
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
];
const WHOLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// The part of an index that names the shards.
#[derive(Deserialize)]
struct Index {
    weight_map: std::collections::HashMap<String, String>,
}

/// The folder with the model's files. Asks the hub, or the mirror that HF_ENDPOINT names, unless the cache is whole or
/// HF_HUB_OFFLINE is set.
///
/// # Errors
/// Why there is no such folder, in words.
pub(super) fn fetch(hub: &HubName, tell: &mut dyn FnMut(Download)) -> Result<PathBuf, String> {
    if std::env::var_os("HF_HOME").is_none() && std::env::home_dir().is_none() {
        return Err("there is neither HF_HOME nor a home directory for its cache".into());
    }
    let offline = std::env::var("HF_HUB_OFFLINE").is_ok_and(|value| !["", "0"].contains(&value.as_str()));
    fetch_into(&Cache::from_env(), (!offline).then(ApiBuilder::from_env), hub, tell)
}

/// `api` is how the hub is asked; `None` stays offline.
fn fetch_into(
    cache: &Cache,
    api: Option<ApiBuilder>,
    hub: &HubName,
    tell: &mut dyn FnMut(Download),
) -> Result<PathBuf, String> {
    let repo = Repo::with_revision(hub.name.clone(), RepoType::Model, hub.revision.clone());
    if let Some(folder) = snapshot(cache, &repo).filter(|folder| whole(folder)) {
        return Ok(folder);
    }
    let place = format!("the cache {} has no whole {} at {}", cache.path().display(), hub.name, hub.revision);
    let Some(api) = api else { return Err(format!("{place}, and HF_HUB_OFFLINE is set")) };
    let failed = |error: hf_hub::api::sync::ApiError| format!("{place}, and the hub gave nothing: {error}");
    let online = api.with_progress(false).build().map_err(failed)?.repo(repo.clone());
    let files: BTreeSet<String> =
        online.info().map_err(failed)?.siblings.into_iter().map(|file| file.rfilename).collect();
    let mut get = |file: &str| get(cache, &online, &repo, file, tell).map_err(failed);
    for file in SMALL.into_iter().filter(|file| files.contains(*file)) {
        get(file)?;
    }
    match (files.contains(WHOLE), files.contains(INDEX)) {
        (true, _) => get(WHOLE)?,
        (false, true) => {
            let index = get(INDEX)?;
            for shard in shards(&index).ok_or_else(|| format!("{} is no index of shards", index.display()))? {
                get(&shard)?;
            }
            index
        }
        (false, false) => return Err(format!("{place}, and on the hub it has no {WHOLE}")),
    };
    let incomplete = || format!("{place}, and on the hub it lacks config.json");
    snapshot(cache, &repo).filter(|folder| whole(folder)).ok_or_else(incomplete)
}

fn get(
    cache: &Cache,
    online: &ApiRepo,
    repo: &Repo,
    file: &str,
    tell: &mut dyn FnMut(Download),
) -> Result<PathBuf, hf_hub::api::sync::ApiError> {
    match cache.repo(repo.clone()).get(file) {
        Some(path) => Ok(path),
        None => online.download_with_progress(file, Teller { tell, file: file.into(), bytes: 0, of: 0 }),
    }
}

/// The folder of a revision that the cache has something of.
fn snapshot(cache: &Cache, repo: &Repo) -> Option<PathBuf> {
    let cached = cache.repo(repo.clone());
    if let Some(config) = cached.get("config.json") {
        return config.parent().map(Path::to_owned);
    }
    // A commit needs no reference: the folder is named after it.
    let folder = cached.pointer_path(repo.revision());
    folder.join("config.json").exists().then_some(folder)
}

/// Whether everything that the model needs lies in a folder.
fn whole(folder: &Path) -> bool {
    let has = |file: &str| folder.join(file).exists();
    let sharded = || shards(&folder.join(INDEX)).is_some_and(|shards| shards.iter().all(|shard| has(shard)));
    has("config.json") && (has(WHOLE) || sharded())
}

/// The shards that an index names, each a plain file name; `None` where it is no index.
fn shards(index: &Path) -> Option<BTreeSet<String>> {
    let index: Index = serde_json::from_slice(&std::fs::read(index).ok()?).ok()?;
    let shards: BTreeSet<String> = index.weight_map.into_values().collect();
    shards.iter().all(|shard| !shard.contains(['/', '\\']) && !shard.starts_with('.')).then_some(shards)
}

/// Passes on how far a file is.
struct Teller<'a> {
    tell: &'a mut dyn FnMut(Download),
    file: String,
    bytes: u64,
    of: u64,
}

impl Progress for Teller<'_> {
    fn init(&mut self, size: usize, _file: &str) {
        (self.bytes, self.of) = (0, size as u64);
    }

    fn update(&mut self, size: usize) {
        self.bytes += size as u64;
        (self.tell)(Download { file: &self.file, bytes: self.bytes, of: self.of });
    }

    fn finish(&mut self) {}
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    fn hub(revision: &str) -> HubName {
        HubName { name: "org/name".into(), revision: revision.into() }
    }

    /// A cache that has these files of `org/name` at one commit, which `main` is.
    fn cached(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let repo = dir.path().join("models--org--name");
        let folder = repo.join("snapshots").join(COMMIT);
        std::fs::create_dir_all(repo.join("refs")).unwrap();
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(repo.join("refs/main"), COMMIT).unwrap();
        files.iter().for_each(|(name, text)| std::fs::write(folder.join(name), text).unwrap());
        dir
    }

    /// A hub that nobody answers for: port 9 of this machine discards, where it is open at all.
    fn silent(cache: &Cache) -> ApiBuilder {
        ApiBuilder::from_cache(cache.clone()).with_endpoint("http://127.0.0.1:9".into())
    }

    fn fetched(dir: &tempfile::TempDir, revision: &str) -> Result<PathBuf, String> {
        let cache = Cache::new(dir.path().into());
        fetch_into(&cache, Some(silent(&cache)), &hub(revision), &mut |_| ())
    }

    #[test]
    fn a_filled_cache_needs_no_network() {
        let dir = cached(&[("config.json", "{}"), (WHOLE, "")]);
        let folder = dir.path().join("models--org--name/snapshots").join(COMMIT);
        assert_eq!(fetched(&dir, "main").unwrap(), folder);
        assert_eq!(fetched(&dir, COMMIT).unwrap(), folder);
        let index = r#"{"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}"#;
        let dir = cached(&[("config.json", "{}"), (INDEX, index), ("one.safetensors", ""), ("two.safetensors", "")]);
        assert!(fetched(&dir, "main").is_ok());
    }

    /// A hub on this machine that has these files of `org/name`; gives its address.
    fn serve(files: &'static [(&'static str, &'static str)]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        #[expect(clippy::disallowed_methods, reason = "a hub for tests, as long as the test lives")]
        std::thread::spawn(move || listener.incoming().for_each(|stream| answer(&mut stream.unwrap(), files)));
        address
    }

    fn answer(stream: &mut TcpStream, files: &[(&str, &str)]) {
        let lines: Vec<String> =
            BufReader::new(&*stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
        let path = lines[0].split(' ').nth(1).unwrap();
        let file = files.iter().find(|(name, _)| path == format!("/org/name/resolve/main/{name}"));
        let (status, more, body) = match file {
            Some((name, text)) => {
                let probe = lines.iter().any(|line| line.to_lowercase() == "range: bytes=0-0");
                let body = if probe { &text[..1] } else { *text };
                let range = format!("bytes 0-{}/{}", body.len() - 1, text.len());
                ("206 Partial Content", format!("content-range: {range}\r\netag: \"of-{name}\"\r\n"), body.to_string())
            }
            None if path == "/api/models/org/name/revision/main" => {
                let siblings: Vec<_> = files.iter().map(|(name, _)| serde_json::json!({ "rfilename": name })).collect();
                let info = serde_json::json!({ "sha": COMMIT, "siblings": siblings });
                ("200 OK", "content-type: application/json\r\n".into(), info.to_string())
            }
            None => ("404 Not Found", String::new(), String::new()),
        };
        let head = format!(
            "HTTP/1.1 {status}\r\n{more}x-repo-commit: {COMMIT}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        // A client that hangs up early is not this side's concern.
        let _ = stream.write_all(format!("{head}{body}").as_bytes());
    }

    #[test]
    fn a_model_is_fetched_once_shards_and_all_and_its_progress_told() {
        let address = serve(&[
            ("README.md", "not wanted"),
            ("config.json", "{}"),
            ("tokenizer.json", "{ }"),
            (INDEX, r#"{"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}"#),
            ("one.safetensors", "the first shard"),
            ("two.safetensors", "the second"),
        ]);
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path().into());
        let mut told = Vec::new();
        let tell = &mut |download: Download| told.push(format!("{} {}/{}", download.file, download.bytes, download.of));
        let api = ApiBuilder::from_cache(cache.clone()).with_endpoint(address);
        let folder = fetch_into(&cache, Some(api), &hub("main"), tell).unwrap();
        let mut found: Vec<String> =
            folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        found.sort();
        assert_eq!(found, ["config.json", INDEX, "one.safetensors", "tokenizer.json", "two.safetensors"]);
        assert_eq!(std::fs::read_to_string(folder.join("two.safetensors")).unwrap(), "the second");
        assert!(told.contains(&"one.safetensors 15/15".to_string()), "{told:?}");
        assert_eq!(fetched(&dir, "main").unwrap(), folder, "the second time nobody is asked");
    }

    #[test]
    fn a_model_without_safetensors_is_told() {
        let address = serve(&[("config.json", "{}"), ("pytorch_model.bin", "pickled")]);
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path().into());
        let api = ApiBuilder::from_cache(cache.clone()).with_endpoint(address);
        let error = fetch_into(&cache, Some(api), &hub("main"), &mut |_| ()).unwrap_err();
        assert!(error.ends_with("and on the hub it has no model.safetensors"), "{error}");
    }

    #[test]
    fn what_neither_cache_nor_hub_has_is_an_error_that_names_both() {
        let index = r#"{"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}"#;
        for files in [&[("config.json", "{}"), (INDEX, index), ("one.safetensors", "")][..], &[(WHOLE, "")], &[]] {
            let dir = cached(files);
            let error = fetched(&dir, "main").unwrap_err();
            let start = format!(
                "the cache {} has no whole org/name at main, and the hub gave nothing: request error: ",
                dir.path().display()
            );
            assert!(error.starts_with(&start), "{error}");
            let cache = Cache::new(dir.path().into());
            let error = fetch_into(&cache, None, &hub("v1"), &mut |_| ()).unwrap_err();
            assert!(error.ends_with("has no whole org/name at v1, and HF_HUB_OFFLINE is set"), "{error}");
        }
    }

    #[test]
    fn an_index_that_points_out_of_its_folder_is_none() {
        let dir = cached(&[("index", r#"{"weight_map": {"a": "../x"}}"#), ("fine", r#"{"weight_map": {"a": "x"}}"#)]);
        let folder = dir.path().join("models--org--name/snapshots").join(COMMIT);
        assert_eq!(shards(&folder.join("index")), None);
        assert_eq!(shards(&folder.join("fine")), Some(BTreeSet::from(["x".to_string()])));
    }
}
