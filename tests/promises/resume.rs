//! A run that is killed goes on bit for bit, and no thread count changes a bit.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use fieldmark::digits::hexadecimal;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::program::{SHORT, birds, program, run};

/// 24 pictures to train on, 4 a batch.
const STEPS: usize = 12;

pub fn arguments<'a>(birds: &'a Path, out: &'a Path) -> Vec<&'a OsStr> {
    let data = [OsStr::new("train"), birds.as_ref(), "--out".as_ref(), out.as_ref()];
    let often = ["--checkpoint-steps", "1"].map(OsStr::new);
    data.into_iter().chain(SHORT.map(OsStr::new)).chain(often).collect()
}

/// Hashes of the last and the best weights, velocities and progress.
pub fn hashes(run: &Path) -> [String; 2] {
    ["last.safetensors", "best.safetensors"]
        .map(|file| hexadecimal(&Sha256::digest(std::fs::read(run.join(file)).unwrap())))
}

/// The epochs' records, without what a clock or the system says.
pub fn metrics(run: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let record = |line: &str| {
        let mut record: Value = serde_json::from_str(line).unwrap();
        record["images_per_second"] = Value::Null;
        record["peak_memory_mib"] = Value::Null;
        record
    };
    text.lines().map(record).collect()
}

/// Starts a run and kills it as soon as it has said that `step` is saved.
fn killed_after(step: usize, arguments: &[&OsStr]) {
    let mut child = program("fieldmark-trainer").args(arguments).stderr(Stdio::piped()).spawn().unwrap();
    let said = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut saved = said.filter(|line| line == &format!("saved after step {step}"));
    assert!(saved.next().is_some(), "the run ended without saving step {step}");
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Compares a run with `more` arguments with others of the same that are killed after certain steps.
fn assert_kills_change_nothing(more: &[&str], kills: &[&[usize]]) {
    let folder = tempfile::tempdir().unwrap();
    let birds = birds(folder.path());
    let whole = folder.path().join("whole");
    let more = || more.iter().map(OsStr::new);
    run("fieldmark-trainer", arguments(&birds, &whole).into_iter().chain(more())).expect(0);
    assert_eq!(metrics(&whole).len(), 2);
    for kills in kills {
        let out = folder.path().join(format!("killed-{kills:?}"));
        let arguments: Vec<&OsStr> = arguments(&birds, &out).into_iter().chain(more()).collect();
        for &step in *kills {
            killed_after(step, &arguments);
        }
        run("fieldmark-trainer", &arguments).expect(0);
        assert_eq!(hashes(&out), hashes(&whole), "killed after {kills:?}");
        assert_eq!(metrics(&out), metrics(&whole), "killed after {kills:?}");
    }
}

#[test]
fn a_killed_run_ends_in_the_same_bits() {
    // In the first epoch, at its end, in the second, before the last step; and one run killed three times.
    assert_kills_change_nothing(&[], &[&[1], &[5], &[6], &[8], &[STEPS - 1], &[2, 6, 9]]);
}

#[test]
fn a_finished_run_says_so_and_what_to_do_next() {
    let folder = tempfile::tempdir().unwrap();
    let birds = birds(folder.path());
    let out = folder.path().join("run");
    let arguments = arguments(&birds, &out);
    let finished = run("fieldmark-trainer", &arguments).expect(0);
    assert!(!finished.err().contains("was finished before"), "{}", finished.err());
    let before = hashes(&out);
    let again = run("fieldmark-trainer", &arguments).expect(0);
    assert_eq!(again.out().lines().next(), finished.out().lines().next());
    assert!(again.err().contains("was finished before: 2 of 2 epochs are done"), "{}", again.err());
    assert!(
        again.err().contains("fieldmark-trainer eval ") && !again.err().contains("resumes"),
        "{}",
        again.err()
    );
    assert_eq!(hashes(&out), before);
}

#[test]
fn a_killed_run_with_an_average_and_a_waiting_backbone_ends_in_the_same_bits() {
    assert_kills_change_nothing(&["--average", "0.9", "--head-first", "1"], &[&[2], &[6, 9]]);
}

#[test]
fn the_result_does_not_depend_on_the_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let birds = birds(folder.path());
    for head in ["group", "group-max", "linear"] {
        let trained = |threads: &str| {
            let out = folder.path().join([head, threads].concat());
            let more = ["--head", head, "--threads", threads].map(OsStr::new);
            run("fieldmark-trainer", arguments(&birds, &out).into_iter().chain(more)).expect(0);
            hashes(&out)
        };
        let one = trained("1");
        assert_eq!(trained("2"), one, "{head}");
        assert_eq!(trained("5"), one, "{head}");
    }
}

#[test]
fn a_run_of_other_settings_or_pictures_is_refused_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let birds = birds(folder.path());
    let out = folder.path().join("run");
    run("fieldmark-trainer", arguments(&birds, &out)).expect(0);
    let before = hashes(&out);
    let other = arguments(&birds, &out).into_iter().chain(["--seed", "1"].map(OsStr::new));
    let refused = run("fieldmark-trainer", other.collect::<Vec<_>>()).expect(1);
    assert!(
        refused.err().contains(
            "other settings (seed 0, now 1); choose another folder, or delete this one to start again (--out)"
        ),
        "{}",
        refused.err()
    );
    let table = birds.join("train_test_split.txt");
    let split = std::fs::read_to_string(&table).unwrap();
    std::fs::write(&table, split.replacen("1 1\n", "1 0\n", 1)).unwrap();
    for command in [arguments(&birds, &out), vec![OsStr::new("eval"), out.as_ref()]] {
        let refused = run("fieldmark-trainer", command).expect(1);
        assert!(refused.err().contains("split"), "{}", refused.err());
    }
    std::fs::write(&table, split).unwrap();
    let picture = birds.join("images/001.Amber_crowned_Warbler/Amber_crowned_Warbler_0001.jpg");
    std::fs::remove_file(&picture).unwrap();
    let refused = run("fieldmark-trainer", arguments(&birds, &out)).expect(1);
    assert!(refused.err().contains("other pictures"), "{}", refused.err());
    assert_eq!(hashes(&out), before);
}

#[test]
fn a_runs_own_configuration_gives_the_same_run_again() {
    let folder = tempfile::tempdir().unwrap();
    let birds = birds(folder.path());
    let [first, again] = ["first", "again"].map(|name| folder.path().join(name));
    let more = ["--rate", "0.03", "--patience", "9", "--shift", "0.1"].map(OsStr::new);
    run("fieldmark-trainer", arguments(&birds, &first).into_iter().chain(more)).expect(0);
    let config = first.join("config.json");
    let from_file =
        [OsStr::new("train"), birds.as_ref(), "--out".as_ref(), again.as_ref(), "--config".as_ref()];
    run("fieldmark-trainer", from_file.into_iter().chain([config.as_ref()])).expect(0);
    assert_eq!(hashes(&again), hashes(&first));
    assert_eq!(std::fs::read(again.join("config.json")).unwrap(), std::fs::read(config).unwrap());
}

#[test]
fn folders_that_are_no_runs_are_refused_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let birds = birds(folder.path());
    let taken = folder.path().join("project");
    std::fs::create_dir(&taken).unwrap();
    // Names that a run's own files have, among them.
    for (file, text) in [
        ("thesis.txt", "years of work"),
        ("config.json", "{\"theme\": \"dark\"}"),
        ("report.html", "<p>of the year</p>"),
        ("lock", "the key is under the mat"),
        (".lockscreen.part", "half a picture"),
        ("best.safetensors", "somebody's weights"),
    ] {
        let path = taken.join(file);
        std::fs::write(&path, text).unwrap();
        let refused = run("fieldmark-trainer", arguments(&birds, &taken)).expect(1);
        assert!(refused.err().contains(file) && refused.err().contains("--out"), "{}", refused.err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        std::fs::remove_file(&path).unwrap();
    }
    for inside in ["run", "a/deep/run"].map(|name| birds.join(name)) {
        let refused = run("fieldmark-trainer", arguments(&birds, &inside)).expect(1);
        assert!(refused.err().contains("inside the pictures' folder"), "{}", refused.err());
    }
    assert!(!birds.join("run").exists() && !birds.join("a").exists());
}

#[test]
fn settings_that_cannot_be_are_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let birds = birds(folder.path());
    for (option, value) in [
        ("--batch", "0"),
        ("--epochs", "0"),
        ("--side", "70000"),
        ("--keep", "4"),
        ("--mu", "nan"),
        ("--flip", "nan"),
        ("--rate", "0"),
        ("--crop", "0"),
        ("--average", "1"),
        ("--head-first", "nan"),
    ] {
        let out = folder.path().join(option);
        let mut args = arguments(&birds, &out);
        args.retain(|arg| !["--batch", "4", "--epochs", "2", "--side", "32"].map(OsStr::new).contains(arg));
        args.extend([option, value].map(OsStr::new));
        let refused = run("fieldmark-trainer", args).expect(1);
        let error = refused.err();
        assert!(
            error.contains(", expected ") && error.contains(&format!("({option})")),
            "{option} {value}: {error}"
        );
        assert!(!out.exists(), "{option} {value}");
    }
}
