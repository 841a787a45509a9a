//! Lists the files that `cellm plugin new` writes into a project, so that they can be compiled in: everything under the
//! folders below. In: the folders. Out: `vendored.rs`, an array of (path in this repository, bytes).

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// Folders of this repository that a policy's author needs.
const FOLDERS: [&str; 6] =
    ["wit", "plugins/sdk", "plugins/kernels", "plugins/c", "plugins/python", "plugins/templates"];

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let mut files = Vec::new();
    for folder in FOLDERS {
        println!("cargo::rerun-if-changed={folder}");
        list(&root.join(folder), &mut files)?;
    }
    files.sort();
    let mut text = String::from("&[\n");
    for file in &files {
        let name = file.strip_prefix(&root).unwrap_or(file).to_string_lossy().replace('\\', "/");
        // Not the whole path: two checkouts may share a target folder, and with it this file.
        let _ =
            writeln!(text, "    ({name:?}, include_bytes!(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/\", {name:?}))),");
    }
    text.push(']');
    fs::write(Path::new(&env::var_os("OUT_DIR").unwrap_or_default()).join("vendored.rs"), text)
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            list(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
