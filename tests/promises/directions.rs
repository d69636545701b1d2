//! Modules depend on each other in one direction: no circle of rooms in any crate, none among the children of any module,
//! and the trainer's wings in their order.
//!
//! A room is a module beside others: a file of a crate's root with all that is below it; in the trainer's library, of a wing.
//! What counts is code outside of tests: each path that begins with `crate::` or `super::`. Code behind a feature counts as
//! all other, since files are read and not compiled.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The trainer's wings. Each may use those before it; training and measuring do not know each other.
const WINGS: [&str; 6] = ["net", "data", "run", "training", "measure", "publish"];

/// The folder of each crate's root file, and how many names long its rooms are.
const CRATES: [(&str, usize); 5] = [
    ("../trainer/src", 2),
    ("../trainer/src/bin/fieldmark-trainer", 1),
    ("../runtime/src", 1),
    ("../runtime/src/bin/fieldmark", 1),
    ("../xtask/src", 1),
];

/// Who uses whom. A module is its path from the crate's root, which is the empty one.
type Uses = BTreeMap<Vec<String>, BTreeSet<Vec<String>>>;

/// Names that modules have from their children, and where these are: both are paths from the crate's root.
type Names = BTreeMap<Vec<String>, Vec<String>>;

#[test]
fn the_trainers_wings_use_only_wings_before_them() {
    let place = |wing: &str| WINGS.iter().position(|known| *known == wing);
    for (from, to) in arrows(&uses("../trainer/src", 1)) {
        let (Some(from_place), Some(to_place)) = (place(&from[0]), place(&to[0])) else {
            assert!(place(&to[0]).is_none(), "{} uses the wing {}", from[0], to[0]);
            continue;
        };
        assert!(to_place < from_place, "{} uses {}", from[0], to[0]);
        assert!(
            to[0] != "training" || from[0] != "measure" && from[0] != "publish",
            "{} uses training",
            from[0]
        );
    }
}

#[test]
fn no_crate_has_a_circle_of_modules() {
    for (folder, depth) in CRATES {
        let uses = uses(folder, depth);
        assert!(uses.len() > 5, "{folder} has {} modules", uses.len());
        let circle = circle(&uses);
        assert!(circle.is_none(), "{folder}: {}", circle.unwrap());
    }
}

/// What does not count: a module and its own children, which may use each other; a call of a method, which names no module;
/// names that a parent has by `*` or `as` from a child.
#[test]
fn no_module_has_a_circle_of_children() {
    for (folder, _) in CRATES {
        let families = siblings(&modules(folder));
        let arrows: usize = families.values().map(|uses| arrows(uses).count()).sum();
        assert!(arrows > 10, "{folder} has {arrows} arrows");
        for (parent, uses) in families {
            let circle = circle(&uses);
            assert!(circle.is_none(), "{folder}, {}: {}", name(&parent), circle.unwrap());
        }
    }
}

#[test]
fn paths_are_read_as_the_compiler_reads_them() {
    let at = ["net".to_owned(), "layer".to_owned()];
    let code = "use crate::data::{batch, lint::{Lint, table}};\nuse super::ops::Sum;\nuse super::super::random;\n\
        // crate::nothing\nfn f() { crate::run::folder::open(); not_crate::x() }\n#[cfg(test)]\nuse super::tested;\n\
        #[cfg(all(test, unix))]\n#[allow(unused)]\npub mod tests {\n    use super::*;\n}";
    let found: Vec<String> = paths(code, &at).iter().map(|path| path.join("::")).collect();
    let expected = [
        "data::batch",
        "data::lint::Lint",
        "data::lint::table",
        "run::folder::open",
        "net::ops::Sum",
        "random",
        "net::tested",
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_circle_is_found_and_named() {
    let module = |name: &str| vec![name.to_owned()];
    let uses = |pairs: &[(&str, &str)]| {
        let mut uses = Uses::new();
        for (from, to) in pairs {
            uses.entry(module(from)).or_default().insert(module(to));
        }
        uses
    };
    assert_eq!(circle(&uses(&[("a", "b"), ("b", "c"), ("a", "c")])), None);
    assert_eq!(circle(&uses(&[("a", "b"), ("b", "c"), ("c", "b")])).unwrap(), "b -> c -> b");
}

#[test]
fn a_circle_of_children_is_one_of_all_that_is_below_them() {
    let module = |path: &str| path.split("::").map(str::to_owned).collect::<Vec<_>>();
    let families = |pairs: &[(&str, &str)]| {
        let mut modules = Uses::new();
        for (from, to) in pairs {
            modules.entry(module(from)).or_default().insert(module(to));
        }
        siblings(&modules)
    };
    let found = families(&[("net::ops::a::x", "net::ops::b"), ("net::ops::b::y::z", "net::ops::a")]);
    assert_eq!(found.keys().collect::<Vec<_>>(), [&module("net::ops")]);
    assert_eq!(circle(&found[&module("net::ops")]).unwrap(), "net::ops::a -> net::ops::b -> net::ops::a");
    assert!(families(&[("net::ops", "net::ops::a"), ("net::ops::a", "net::ops")]).is_empty());
}

#[test]
fn a_name_that_a_module_has_from_its_child_leads_to_the_child() {
    let module = |path: &str| path.split("::").map(str::to_owned).collect::<Vec<_>>();
    let code = "pub use b::{B, c::C};\nuse std::fs;\nfn f() {\n    use b::Inner;\n}\n";
    let modules: BTreeSet<_> = ["a", "a::b", "a::b::c"].map(module).into_iter().collect();
    let names = names_of_children(code, &module("a"), &modules);
    assert_eq!(names.len(), 2);
    let led = |path: &str| home(module(path), &modules, &names);
    assert_eq!(led("a::B"), module("a::b"));
    assert_eq!(led("a::C::new"), module("a::b::c"));
    assert_eq!(led("a::Other"), module("a"));
    assert_eq!(led("a::b::c"), module("a::b::c"));
}

/// The modules of the crate whose root file is in `folder`, and those that their paths lead to.
fn modules(folder: &str) -> Uses {
    let mut files = Vec::new();
    gather(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut Vec::new(), &mut files);
    let modules: BTreeSet<Vec<String>> = files.iter().map(|(module, _)| module.clone()).collect();
    let names: Names =
        files.iter().flat_map(|(module, code)| names_of_children(code, module, &modules)).collect();
    let mut uses = Uses::new();
    for (module, code) in &files {
        let used = paths(code, module).into_iter().map(|path| home(path, &modules, &names));
        uses.entry(module.clone()).or_default().extend(used);
    }
    uses
}

/// The module that a path leads to: its longest beginning that is one, or the child that this has the next name from.
fn home(mut path: Vec<String>, modules: &BTreeSet<Vec<String>>, names: &Names) -> Vec<String> {
    loop {
        let length = (0..=path.len()).rev().find(|&length| modules.contains(&path[..length])).unwrap_or(0);
        let Some(place) = path.get(..=length).and_then(|name| names.get(name)) else {
            return path[..length].to_vec();
        };
        path = [place.as_slice(), &path[length + 1..]].concat();
    }
}

/// The names that the `use` items of `module` take from its children, and where they are.
fn names_of_children(code: &str, module: &[String], modules: &BTreeSet<Vec<String>>) -> Names {
    let code = counted(code);
    let mut found = Vec::new();
    for (at, item) in code.match_indices("use ") {
        let before = code[..at].rsplit('\n').next().unwrap_or_default();
        if before.is_empty() || before.starts_with("pub") {
            expand(module, &code[at + item.len()..], &mut found);
        }
    }
    let child = module.len() + 1;
    found.retain(|path| path.len() > child && modules.contains(&path[..child]));
    found.into_iter().map(|path| ([module, &path[path.len() - 1..]].concat(), path)).collect()
}

/// Of each parent, the children that use others of its children, or what is below those.
fn siblings(modules: &Uses) -> BTreeMap<Vec<String>, Uses> {
    let mut families: BTreeMap<Vec<String>, Uses> = BTreeMap::new();
    for (from, used) in modules {
        for to in used {
            let shared = from.iter().zip(to).take_while(|(from, to)| from == to).count();
            if shared < from.len() && shared < to.len() {
                let uses = families.entry(from[..shared].to_vec()).or_default();
                uses.entry(from[..=shared].to_vec()).or_default().insert(to[..=shared].to_vec());
            }
        }
    }
    families
}

/// The rooms of the crate whose root file is in `folder`, `depth` names long at most, and what each uses.
fn uses(folder: &str, depth: usize) -> Uses {
    let room = |module: &[String]| module[..module.len().min(depth)].to_vec();
    let mut uses = Uses::new();
    for (module, used) in &modules(folder) {
        let from = room(module);
        for to in used {
            let to = room(to);
            let is_face = from.starts_with(&to) && !to.is_empty();
            if to != from && !is_face {
                uses.entry(from.clone()).or_default().insert(to);
            }
        }
        uses.entry(from).or_default();
    }
    // The root uses what it declares; a face declares, and uses nothing.
    if let Some(root) = uses.get(&Vec::new()).cloned() {
        let rooms: Vec<_> = uses.keys().filter(|room| room.len() == 1).cloned().collect();
        let has_code =
            !root.is_empty() || Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join("main.rs").exists();
        if has_code {
            uses.entry(Vec::new()).or_default().extend(rooms);
        }
    }
    uses
}

/// All files below `folder` but those of tests and of programs, as modules with their code.
fn gather(folder: &Path, module: &mut Vec<String>, files: &mut Vec<(Vec<String>, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let is_root = ["lib", "main", "mod"].contains(&name.as_str());
        if name == "tests" || name == "bin" && module.is_empty() {
            continue;
        }
        if !is_root {
            module.push(name);
        }
        if path.is_dir() {
            gather(&path, module, files);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push((module.clone(), fs::read_to_string(&path).unwrap()));
        }
        if !is_root {
            module.pop();
        }
    }
}

/// The code that counts: without comments, and without the modules of tests at the end of a file.
fn counted(code: &str) -> String {
    let lines: Vec<&str> = code.lines().collect();
    let is_of_tests = |at: &usize| {
        let item = lines[*at..].iter().find(|line| !line.starts_with("#["));
        lines[*at].starts_with("#[cfg(")
            && lines[*at].contains("test")
            && item.is_some_and(|item| item.contains("mod ") && item.ends_with('{'))
    };
    let end = (0..lines.len()).find(is_of_tests).unwrap_or(lines.len());
    lines[..end].iter().map(|line| line.split("//").next().unwrap_or_default().to_owned() + "\n").collect()
}

/// The paths in the code of `module`, from the crate's root.
fn paths(code: &str, module: &[String]) -> Vec<Vec<String>> {
    let code = counted(code);
    let mut found = Vec::new();
    for (start, base) in [("crate::", &[][..]), ("super::", &module[..module.len().saturating_sub(1)])] {
        for (at, _) in code.match_indices(start) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let (mut base, mut rest) = (base, &code[at + start.len()..]);
            while let Some(shorter) = rest.strip_prefix("super::") {
                (base, rest) = (&base[..base.len().saturating_sub(1)], shorter);
            }
            expand(base, rest, &mut found);
        }
    }
    found
}

/// Adds the paths that `rest` begins with, behind `base`; groups in braces are several. What follows them is left.
fn expand<'a>(base: &[String], rest: &'a str, found: &mut Vec<Vec<String>>) -> &'a str {
    let rest = rest.trim_start();
    if let Some(mut rest) = rest.strip_prefix('{') {
        loop {
            rest = expand(base, rest, found).trim_start();
            match rest.strip_prefix(',') {
                Some(more) if !more.trim_start().starts_with('}') => rest = more,
                more => return more.unwrap_or(rest).trim_start().strip_prefix('}').unwrap_or(""),
            }
        }
    }
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    let mut path = base.to_vec();
    path.extend((end > 0 && &rest[..end] != "self").then(|| rest[..end].to_owned()));
    let rest = &rest[end..];
    if let Some(rest) = rest.strip_prefix("::") {
        return expand(&path, rest, found);
    }
    found.push(path);
    let alias = rest.strip_prefix(" as ").unwrap_or(rest);
    if alias.len() == rest.len() {
        return rest;
    }
    &alias[alias.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(alias.len())..]
}

fn arrows(uses: &Uses) -> impl Iterator<Item = (&Vec<String>, &Vec<String>)> {
    let all = uses.iter().flat_map(|(from, to)| to.iter().map(move |to| (from, to)));
    all.filter(|(from, to)| !from.is_empty() && !to.is_empty())
}

/// A way from a module back to itself, if there is one.
fn circle(uses: &Uses) -> Option<String> {
    // Whatever uses nothing that is left is on no circle.
    let mut left = uses.clone();
    loop {
        let done: Vec<_> =
            left.keys().filter(|of| left[*of].iter().all(|to| !left.contains_key(to))).cloned().collect();
        if done.is_empty() {
            break;
        }
        left.retain(|module, _| !done.contains(module));
    }
    let mut way = vec![left.keys().next()?];
    loop {
        let next = left[way[way.len() - 1]].iter().find(|to| left.contains_key(*to))?;
        if let Some(start) = way.iter().position(|module| *module == next) {
            let names = way[start..].iter().chain([&next]).map(|module| name(module));
            return Some(names.collect::<Vec<_>>().join(" -> "));
        }
        way.push(next);
    }
}

fn name(module: &[String]) -> String {
    if module.is_empty() { "the root".to_owned() } else { module.join("::") }
}
