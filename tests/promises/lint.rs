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
fn a_class_of_other_files_is_listed_beside_what_else_is_found_and_refused_by_training() {
    let folder = tempfile::tempdir().unwrap();
    let birds = birds(folder.path()).join("images");
    let owls = birds.join("owls");
    fs::create_dir(&owls).unwrap();
    for number in 1..=3 {
        fs::write(owls.join(format!("{number}.HEIC")), "ftypheic").unwrap();
    }
    let lint = |more: &[&str]| run("fieldmark-trainer", ["lint", birds.to_str().unwrap()].iter().chain(more));
    let text = lint(&[]).expect(0).out();
    assert!(text.contains("class owls: no readable pictures (3 HEIC)"), "{text}");
    assert!(text.contains("have fewer than 20 pictures"), "{text}");
    lint(&["--strict"]).expect(1);
    let grouped = lint(&["--group-by", "_"]).expect(0).out();
    assert!(grouped.contains("'_' makes one group of each class for 4 of 4 classes"), "{grouped}");
    let train = |more: &[&str]| {
        let out = folder.path().join("run");
        let words = ["train", birds.to_str().unwrap(), "--out", out.to_str().unwrap()];
        run("fieldmark-trainer", words.iter().chain(more)).expect(1).err()
    };
    assert!(train(&[]).contains("no readable training picture for owls"), "{}", train(&[]));
    fs::remove_dir_all(owls).unwrap();
    let warned = train(&["--group-by", "_"]);
    assert!(warned.contains("warning: grouping by '_' makes one group of each class"), "{warned}");
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
