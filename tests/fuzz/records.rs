//! Fuzzes the readers of data: any bytes as a file of each kind that their beginning allows, whose records are found and read. A
//! panic, a record that is found but cannot be read, a hang, or memory without bound is a find.

#![no_main]

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use cellm::data::{Config, Dataset, Invalid, Task};
use libfuzzer_sys::fuzz_target;

static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = cellm_fuzz::folder();
    for class in ["pictures/a", "pictures/b"] {
        std::fs::create_dir_all(folder.join(class)).expect("a folder");
    }
    folder
});

/// Finds the records of a file and reads them all.
fn load(config: &Config, path: &Path) {
    let config = Config { path: Some(path.into()), min_chars: 0, ..config.clone() };
    let Ok(data) = Dataset::load(&config, None, None) else { return };
    let all: Vec<u32> = (0..).take(data.len()).collect();
    let read = data.read(&all).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(read.len(), data.len());
}

fn try_as(name: &str, bytes: &[u8]) {
    cellm_fuzz::put(&FOLDER, name, bytes);
    let path = FOLDER.join(name);
    let text = Config::default();
    load(&text, &path);
    let skip = Config { invalid: Invalid::Skip, ..text };
    load(&skip, &path);
    load(&Config { task: Task::Classification, label: Some("label".into()), ..skip.clone() }, &path);
    load(&Config { task: Task::Instruction, template: "messages".into(), ..skip.clone() }, &path);
    load(&Config { task: Task::Instruction, template: "alpaca".into(), ..skip }, &path);
    std::fs::remove_file(path).expect("a file that was put");
}

fn try_as_picture(name: &str, bytes: &[u8]) {
    let name = format!("pictures/a/{name}");
    cellm_fuzz::put(&FOLDER, &name, bytes);
    let config = Config { task: Task::Classification, invalid: Invalid::Skip, ..Config::default() };
    load(&config, &FOLDER.join("pictures"));
    std::fs::remove_file(FOLDER.join(name)).expect("a file that was put");
}

fuzz_target!(|data: &[u8]| match data {
    [b'P', b'A', b'R', b'1', ..] => try_as("d.parquet", data),
    [0x1f, 0x8b, ..] => try_as("d.jsonl.gz", data),
    [0x28, 0xb5, 0x2f, 0xfd, ..] => try_as("d.jsonl.zst", data),
    [0x89, b'P', b'N', b'G', ..] => try_as_picture("p.png", data),
    [0xff, 0xd8, ..] => try_as_picture("p.jpg", data),
    [b'{' | b'[', ..] => try_as("d.json", data),
    _ => ["d.jsonl", "d.csv", "d.tsv", "d.txt"].iter().for_each(|name| try_as(name, data)),
});
