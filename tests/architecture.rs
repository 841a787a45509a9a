//! Reads the import tables of ARCHITECTURE.md and every source file under `engine/`; fails on an edge that the tables do not
//! have. Tests (`#[cfg(test)]` items and `tests.rs` files) may name anything. Fails too on a doc line under `engine/` that does
//! not start with the noun.

#[path = "architecture/files.rs"]
mod files;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// First words of doc lines that make a riddle: "What was asked for." in place of "The policy's reference."
const QUESTIONS: [&str; 7] = ["What", "Whether", "Where", "How", "Why", "Who", "Which"];

/// Rows by room or crate.
type Table = BTreeMap<String, Row>;

/// The right column of a row.
enum Row {
    /// "everything", without the rooms named after "but".
    EverythingBut(BTreeSet<String>),
    /// Only the rooms named.
    Only(BTreeSet<String>),
}

impl Row {
    fn has(&self, room: &str) -> bool {
        match self {
            Row::EverythingBut(rooms) => !rooms.contains(room),
            Row::Only(rooms) => rooms.contains(room),
        }
    }
}

struct Source {
    /// Room that the file belongs to.
    room: String,
    /// Number of `super::` that lead from this file to the crate's root.
    depth: usize,
    path: PathBuf,
    /// Lines without comments and test items, with their numbers from 1.
    lines: Vec<(usize, String)>,
}

#[test]
fn no_room_imports_a_room_that_its_row_does_not_have() {
    let (rooms, _) = tables();
    let mut wrong = Vec::new();
    for source in sources() {
        let Some(row) = rooms.get(&source.room) else {
            wrong.push(format!("{}: room `{}` has no row in ARCHITECTURE.md", source.path.display(), source.room));
            continue;
        };
        for (line, target) in mentions(&source) {
            let known = rooms.contains_key(&target) && target != source.room;
            if known && !row.has(&target) {
                wrong.push(format!("{}:{line}: `{}` may not import `{target}`", source.path.display(), source.room));
            }
        }
    }
    assert!(wrong.is_empty(), "edges that ARCHITECTURE.md does not have:\n{}", wrong.join("\n"));
}

#[test]
fn a_room_may_import_only_rooms_behind_it() {
    let (rooms, _) = tables();
    let door = std::fs::read_to_string(root().join("engine/lib.rs")).unwrap();
    let modules = door.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let order: Vec<&str> = std::iter::once("main").chain(modules).collect();
    assert!(rooms.keys().all(|room| order.contains(&room.as_str())), "a row is of no room in engine/lib.rs");
    let mut wrong = Vec::new();
    for (place, room) in order.iter().enumerate() {
        let before = &order[..place];
        let up = before.iter().filter(|other| rooms.get(*room).is_some_and(|row| row.has(other)));
        wrong.extend(up.map(|other| format!("`{room}` may import `{other}`, which engine/lib.rs lists before it")));
    }
    assert!(wrong.is_empty(), "rows of ARCHITECTURE.md that run back up:\n{}", wrong.join("\n"));
}

#[test]
fn no_two_files_need_each_other() {
    let of = |source: Source| {
        let module =
            source.path.with_extension("").components().map(|part| part.as_os_str().to_string_lossy().into()).collect();
        (module, source.lines.into_iter().map(|(_, line)| line + "\n").collect())
    };
    let circles = files::circles(&sources().into_iter().map(of).collect());
    assert!(circles.is_empty(), "circles (move what both use below both, or into their door):\n{}", circles.join("\n"));
}

#[test]
fn a_heavy_crate_is_named_by_its_owner_alone() {
    let (_, crates) = tables();
    let mut wrong = Vec::new();
    for source in sources() {
        for (name, owners) in &crates {
            let owns = owners.has(&source.room);
            for (line, text) in source.lines.iter().filter(|_| !owns) {
                if names_crate(text, name) {
                    wrong.push(format!("{}:{line}: `{}` names `{name}`", source.path.display(), source.room));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "crates named outside of their room:\n{}", wrong.join("\n"));
}

#[test]
fn every_room_has_a_row_and_every_row_a_room() {
    let (rooms, _) = tables();
    let found: BTreeSet<String> = sources().into_iter().map(|source| source.room).collect();
    let rows: BTreeSet<String> = rooms.into_keys().collect();
    assert_eq!(found, rows, "left: rooms under engine/, right: rows of ARCHITECTURE.md");
}

#[test]
fn a_doc_line_starts_with_the_noun() {
    let mut wrong = Vec::new();
    for (_, path, text) in files() {
        let lines = text.lines().enumerate().filter(|(_, line)| asks(line));
        wrong.extend(lines.map(|(number, line)| format!("{}:{}: {}", path.display(), number + 1, line.trim())));
    }
    assert!(wrong.is_empty(), "doc lines that start with a question:\n{}", wrong.join("\n"));
    assert!(asks("    /// What was asked for.") && asks("//! How much it costs.") && asks("/// Why?"));
    assert!(!asks("/// The reason.") && !asks("// What follows is plain code.") && !asks("/// Whatever is left."));
}

#[test]
fn the_reader_sees_grouped_nested_and_relative_imports_and_skips_tests_and_comments() {
    let text = "//! crate::nothing\nuse crate::{wire::{self, Header}, adapter, r#data::Record};\nlet x = crate::policy::f(); // crate::no\n\
                use super::super::journal::J;\nuse super::own;\n#[cfg(test)]\nmod tests {\n    use crate::server;\n}\nuse crate::\n    link;\n";
    let source = Source { room: "x".into(), depth: 2, path: "x/y.rs".into(), lines: code(text) };
    let found: Vec<String> = mentions(&source).into_iter().map(|(_, room)| room).collect();
    assert_eq!(found, ["wire", "adapter", "data", "policy", "link", "journal"]);
    assert!(names_crate("use burn::tensor;", "burn") && names_crate("use burn as b;", "burn"));
    assert!(!names_crate("use crate::burn::x;", "burn") && !names_crate("sunburn::x", "burn"));
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn tables() -> (Table, Table) {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let section = text.split("## Who may import whom").nth(1).expect("ARCHITECTURE.md has the section");
    let section = section.split("\n## ").next().unwrap();
    let mut tables = Vec::new();
    for line in section.lines() {
        if line.starts_with("|---") {
            tables.push(Table::new());
        } else if let (Some(row), Some(table)) = (line.strip_prefix("| `"), tables.last_mut()) {
            let (name, rest) = row.split_once('`').unwrap();
            let named = rest.split('`').skip(1).step_by(2).map(str::to_owned).collect();
            let row = if rest.contains("everything") { Row::EverythingBut(named) } else { Row::Only(named) };
            table.insert(name.to_owned(), row);
        }
    }
    let crates = tables.pop().expect("the table of crates");
    (tables.pop().expect("the table of rooms"), crates)
}

fn sources() -> Vec<Source> {
    let with_code =
        files().into_iter().filter(|(_, path, _)| path != Path::new("lib.rs") && !path.ends_with("tests.rs"));
    let found: Vec<Source> = with_code
        .map(|(room, path, text)| Source { room, depth: path.components().count(), path, lines: code(&text) })
        .collect();
    assert!(found.len() > 20, "found {} files under engine/", found.len());
    found
}

/// Every Rust file under `engine/`: its room, its path there and its text.
fn files() -> Vec<(String, PathBuf, String)> {
    let engine = root().join("engine");
    let mut found = Vec::new();
    let mut folders = vec![engine.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let inside = path.strip_prefix(&engine).unwrap().to_owned();
            if path.extension().is_none_or(|end| end != "rs") {
                continue;
            }
            let first = inside.components().next().unwrap().as_os_str().to_string_lossy();
            let room = first.trim_end_matches(".rs").to_owned();
            found.push((room, inside, std::fs::read_to_string(&path).unwrap()));
        }
    }
    found
}

/// True for a doc line that starts with a question.
fn asks(line: &str) -> bool {
    let text = line.trim_start();
    let text = text.strip_prefix("/// ").or_else(|| text.strip_prefix("//! "));
    let first = text.map(|text| text.split(|letter: char| !letter.is_alphanumeric()).next().unwrap_or_default());
    first.is_some_and(|first| QUESTIONS.contains(&first))
}

/// The lines without comments and without items under `#[cfg(test)]`. Relies on rustfmt: an item ends at the first line that
/// is its closing brace at its own indentation.
fn code(text: &str) -> Vec<(usize, String)> {
    let mut kept = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if line.trim() == "#[cfg(test)]" {
            let end = format!("{}}}", &line[..line.len() - line.trim_start().len()]);
            let mut item = lines.by_ref().skip_while(|(_, line)| line.trim().starts_with("#["));
            if item.next().is_some_and(|(_, line)| line.ends_with('{')) {
                lines.by_ref().find(|(_, line)| *line == end);
            }
            continue;
        }
        let line = line.split("//").next().unwrap_or_default();
        kept.push((number + 1, line.to_owned()));
    }
    kept
}

/// Rooms that a file names through `crate::` (or `cellm::`, in the binary) or through enough `super::`, with the line.
fn mentions(source: &Source) -> Vec<(usize, String)> {
    let mut text = String::new();
    let mut starts = Vec::new();
    for (number, line) in &source.lines {
        starts.push((text.len(), *number));
        text.push_str(line);
        text.push('\n');
    }
    let mut found = Vec::new();
    let up = "super::".repeat(source.depth);
    for path in ["crate::", "cellm::", up.as_str()] {
        for (at, _) in text.match_indices(path) {
            if text[..at].ends_with(|before: char| before.is_alphanumeric() || matches!(before, '_' | ':')) {
                continue;
            }
            let line = starts.iter().rev().find(|(start, _)| *start <= at).map_or(0, |(_, number)| *number);
            found.extend(heads(&text[at + path.len()..]).into_iter().map(|name| (line, name)));
        }
    }
    found
}

/// The first names of a path's rest: one, or those of a group `{a, b::c, d::{e}}`.
fn heads(rest: &str) -> Vec<String> {
    let rest = rest.trim_start();
    let name = |text: &str| {
        let text = text.trim_start();
        let text = text.strip_prefix("r#").unwrap_or(text);
        text.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect::<String>()
    };
    let Some(group) = rest.strip_prefix('{') else { return vec![name(rest)] };
    let mut depth = 0;
    let mut names = Vec::new();
    let mut start = 0;
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            ',' if depth == 0 => {
                names.push(name(&group[start..at]));
                start = at + 1;
            }
            '}' if depth == 0 => {
                names.push(name(&group[start..at]));
                break;
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

fn names_crate(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = &line[at + name.len()..];
        let own_word = before.is_none_or(|before| !before.is_alphanumeric() && !matches!(before, '_' | ':' | '"'));
        own_word
            && (after.starts_with("::") || (line.trim_start().starts_with("use ") && after.starts_with([';', ' '])))
    })
}
