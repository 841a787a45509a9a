//! Fuzzes the config: any text as a file, and its lines as `--set` and as environment variables. A panic is a find, and so is a
//! config whose own text gives another config.

#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use cellm::config::{Layers, Override};
use libfuzzer_sys::fuzz_target;

static FOLDER: LazyLock<PathBuf> = LazyLock::new(cellm_fuzz::folder);

fn load(text: &str, layers: Layers) -> Result<cellm::config::Loaded, cellm::config::ConfigError> {
    cellm_fuzz::put(&FOLDER, "file.toml", text.as_bytes());
    Layers { files: vec![FOLDER.join("file.toml")], ..layers }.load()
}

fn check(text: &str, layers: Layers) {
    match load(text, layers) {
        Err(error) => drop(error.to_string()),
        Ok(loaded) => {
            let _ = (loaded.config.idle(), loaded.origins(), loaded.config.to_json());
            let own = loaded.to_toml();
            let again = load(&own, Layers::default());
            let again = again.unwrap_or_else(|error| panic!("{error}\n{own}"));
            assert_eq!(again.config, loaded.config, "{own}");
        }
    }
}

fuzz_target!(|data: &[u8]| {
    // A config file that is no text is an error of the read.
    cellm_fuzz::put(&FOLDER, "file.toml", data);
    let _ = Layers { files: vec![FOLDER.join("file.toml")], ..Layers::default() }.load();
    let Ok(text) = std::str::from_utf8(data) else { return };
    check(text, Layers::default());
    check(text, Layers { profile: Some("p".into()), ..Layers::default() });
    let overrides = text.lines().filter_map(|line| Override::parse(line).ok()).collect();
    check("", Layers { overrides, ..Layers::default() });
    let variable = |line: &str| line.split_once('=').map(|(name, value)| (format!("CELLM_{name}"), value.to_owned()));
    check("", Layers { environment: text.lines().filter_map(variable).collect(), ..Layers::default() });
});
