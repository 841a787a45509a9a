//! Files that need each other: the sources of `engine/` in, the circles of their imports out.
//!
//! A name is followed to the file that defines it, through every `use` that hands it on. A file may name what its own room's or
//! folder's door defines; that is no arrow.

use std::collections::{BTreeMap, BTreeSet};

/// A module's path from the root, such as `data`, `chat`, `limits`.
type Module = Vec<String>;

/// The arrows between files: who names what of whom.
type Arrows = BTreeMap<Module, BTreeMap<Module, BTreeSet<String>>>;

/// Each name of a file's `use`s with its path from the root.
type Uses = BTreeMap<Module, BTreeMap<String, Module>>;

/// The circles among files, given as their module's path and their code, a line an arrow.
pub fn circles(files: &BTreeMap<Module, String>) -> Vec<String> {
    let arrows = arrows(files);
    let reached: BTreeMap<&Module, BTreeSet<&Module>> =
        arrows.keys().map(|file| (file, reached_from(file, &arrows))).collect();
    let mut found = Vec::new();
    for (from, targets) in &arrows {
        for (to, names) in targets.iter().filter(|(to, _)| reached.get(to).is_some_and(|back| back.contains(from))) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            found.push(format!("{} -> {}: {}", from.join("/"), to.join("/"), names.join(", ")));
        }
    }
    found
}

fn reached_from<'a>(file: &Module, arrows: &'a Arrows) -> BTreeSet<&'a Module> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<&Module> = arrows.get(file).into_iter().flat_map(BTreeMap::keys).collect();
    while let Some(file) = next.pop() {
        if reached.insert(file) {
            next.extend(arrows.get(file).into_iter().flat_map(BTreeMap::keys));
        }
    }
    reached
}

fn arrows(files: &BTreeMap<Module, String>) -> Arrows {
    let mut uses = Uses::new();
    let mut named: BTreeMap<&Module, Vec<Module>> = BTreeMap::new();
    for (module, code) in files {
        let (imports, rest) = split_uses(code);
        let own: BTreeMap<String, Module> =
            imports.iter().filter_map(|(path, name)| Some((name.clone(), absolute(module, path, files)?))).collect();
        let mut paths: Vec<Module> = own.values().cloned().collect();
        for path in paths_in(&rest) {
            let known = own.get(&path[0]).map(|start| [start.as_slice(), &path[1..]].concat());
            paths.extend(known.or_else(|| absolute(module, &path, files)));
        }
        uses.insert(module.clone(), own);
        named.insert(module, paths);
    }
    let mut arrows = Arrows::new();
    for (module, paths) in named {
        for (file, name) in paths.iter().filter_map(|path| definition(path, files, &uses, 0)) {
            if !module.starts_with(&file) {
                arrows.entry(module.clone()).or_default().entry(file).or_default().insert(name);
            }
        }
    }
    arrows
}

/// The file that defines what a path from the root names, and its name there; none for a module itself.
fn definition(
    path: &[String],
    files: &BTreeMap<Module, String>,
    uses: &Uses,
    depth: usize,
) -> Option<(Module, String)> {
    let inside = (0..=path.len()).rev().find(|end| files.contains_key(&path[..*end]))?;
    let (module, name) = (path[..inside].to_vec(), path.get(inside)?);
    match uses.get(&module).and_then(|uses| uses.get(name)).filter(|_| depth < 16) {
        Some(start) => definition(&[start.as_slice(), &path[inside + 1..]].concat(), files, uses, depth + 1),
        None => Some((module, name.clone())),
    }
}

/// A path of a file as one from the root; none where it leads out of the crate.
fn absolute(module: &Module, path: &[String], files: &BTreeMap<Module, String>) -> Option<Module> {
    let ups = path.iter().take_while(|part| *part == "super").count();
    match path.first()?.as_str() {
        "crate" | "cellm" => Some(path[1..].to_vec()),
        "self" => Some([module.as_slice(), &path[1..]].concat()),
        "super" => Some([&module[..module.len().checked_sub(ups)?], &path[ups..]].concat()),
        first => {
            let child = [module.as_slice(), &[first.to_owned()]].concat();
            files.contains_key(&child).then(|| [module.as_slice(), path].concat())
        }
    }
}

/// The imports of a file's `use`s, each with the name that it gets, and the rest of the code.
fn split_uses(code: &str) -> (Vec<(Module, String)>, String) {
    let (mut imports, mut rest, mut tree) = (Vec::new(), String::new(), String::new());
    for line in code.lines() {
        let begins = line.trim_start();
        let begins =
            begins.strip_prefix("pub").map_or(begins, |rest| rest.trim_start_matches(|sign| sign != ' ').trim());
        match (tree.is_empty(), begins.strip_prefix("use ")) {
            (true, None) => rest += &format!("{line}\n"),
            (true, Some(begin)) => tree += begin,
            (false, _) => tree += line.trim(),
        }
        if let Some(whole) = tree.strip_suffix(';') {
            flatten(&[], whole, &mut imports);
            tree.clear();
        }
    }
    (imports, rest)
}

/// The paths of a `use` tree.
fn flatten(before: &[String], tree: &str, imports: &mut Vec<(Module, String)>) {
    let parts = |path: &str| -> Module {
        path.split("::")
            .map(|part| part.trim().trim_start_matches("r#").to_owned())
            .filter(|part| !part.is_empty())
            .collect()
    };
    let Some((head, group)) = tree.split_once('{') else {
        let (path, renamed) = tree.split_once(" as ").unwrap_or((tree, ""));
        let mut path = [before, &parts(path)].concat();
        path.pop_if(|last| last == "self");
        let name = if renamed.is_empty() { path.last().cloned() } else { Some(renamed.trim().to_owned()) };
        return imports.extend(name.map(|name| (path, name)));
    };
    let before = [before, &parts(head)].concat();
    let (mut depth, mut start) = (0, 0);
    for (at, sign) in group.char_indices() {
        match sign {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                let one = group[start..at].trim();
                if !one.is_empty() {
                    flatten(&before, one, imports);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
}

/// Every `a::b` of some code.
fn paths_in(code: &str) -> Vec<Module> {
    let words = code.split(|sign: char| !(sign.is_alphanumeric() || matches!(sign, '_' | ':')));
    let paths = words.filter(|word| word.contains("::") && !word.starts_with(':'));
    paths.map(|word| word.split(':').filter(|part| !part.is_empty()).map(str::to_owned).collect()).collect()
}

#[test]
fn circles_are_found_through_what_doors_hand_on_and_a_door_of_its_own_is_none() {
    let file = |path: &str, code: &str| (path.split('/').map(str::to_owned).collect::<Module>(), code.to_owned());
    let files = BTreeMap::from([
        file("room", "mod a;\npub use a::{A, self as other};\npub use b::B;\npub struct Door;\n"),
        file("room/a", "use super::B;\npub struct A(B);\n"),
        file("room/b", "use super::{c::{C},\n    Door};\npub struct B(super::super::room::other::A);\n"),
        file("room/c", "use super::Door;\nuse std::fmt;\n"),
        file("other", "use crate::room;\nfn f() { room::c::C; }\n"),
    ]);
    assert_eq!(circles(&files), ["room/a -> room/b: B", "room/b -> room/a: A"]);
}
