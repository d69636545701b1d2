//! `fieldmark-trainer lint`: what it says, its exit codes, and that it only reads.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::program::{birds, run};

/// Every file below `folder`, with its bytes.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(path.clone(), fs::read(&path).unwrap());
            }
        }
    }
    files
}

#[test]
fn findings_are_listed_and_nothing_is_changed() {
    let folder = tempfile::tempdir().unwrap();
    let birds = birds(folder.path());
    let bird = birds.join("images/001.Amber_crowned_Warbler/Amber_crowned_Warbler_0001.jpg");
    fs::copy(&bird, bird.with_file_name("Amber_crowned_Warbler_0002.jpg")).unwrap();
    let before = files(&birds);
    let json = folder.path().join("lint.json");
    let lint = |more: &[&Path]| {
        let args = [Path::new("lint"), &birds, Path::new("--json"), &json];
        run("fieldmark-trainer", args.into_iter().chain(more.iter().copied()))
    };
    let text = lint(&[]).expect(0).out();
    assert!(text.contains("byte for byte the same"), "{text}");
    let found: Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    assert_eq!(found["schema"], 1);
    let findings = found["findings"].as_array().unwrap();
    assert!(
        findings.iter().any(|finding| finding["kind"].as_str().unwrap().starts_with("copies")),
        "{found}"
    );
    assert_eq!(lint(&[Path::new("--threads"), Path::new("1")]).expect(0).out(), text);
    assert_eq!(lint(&[Path::new("--strict")]).expect(1).out(), text);
    assert!(files(&birds) == before);
}

#[test]
fn data_that_is_none_ends_in_one_clear_line() {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("mine.csv");
    fs::write(&list, "file,label\na.jpg,a\n").unwrap();
    for (data, said) in
        [(list, "mine.csv:1: expected a header"), (folder.path().join("absent"), "cannot read")]
    {
        let finished = run("fieldmark-trainer", [Path::new("lint"), &data]).expect(1);
        assert!(finished.err().contains(said), "{}", finished.err());
        assert_eq!(finished.out(), "");
    }
}
