//! `fieldmark-trainer make`: from pictures to a model that has run, away from the sources.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;

use crate::program::{Finished, SHORT, birds, finished, program};

/// A folder with nothing of the sources around it, and a few birds in it.
struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    fn new() -> Desk {
        let folder = tempfile::tempdir().unwrap();
        birds(folder.path());
        Desk { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `fieldmark-trainer make` there with these words.
    fn make<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Finished {
        finished(program("fieldmark-trainer").current_dir(self.folder.path()).arg("make").args(words))
    }

    /// The same on the birds, shortened, into `out`.
    fn short(&self, out: &str, more: &[&str]) -> Finished {
        self.make(["birds", "--out", out].into_iter().chain(SHORT).chain(more.iter().copied()))
    }
}

/// The commands that a run has said, by their second words.
fn stages(err: &str) -> Vec<&str> {
    let commands = err.lines().filter_map(|line| line.strip_prefix("$ "));
    commands.filter_map(|line| line.split(' ').nth(1)).collect()
}

#[test]
fn one_command_makes_a_model_that_has_run_and_again_finds_it_made() {
    let desk = Desk::new();
    // What is learnt in two epochs is of no use, and that is said before a file is written.
    let refused = desk.short("out", &["--scratch", "--seed=7"]).expect(1).err();
    assert_eq!(stages(&refused), ["lint", "train", "eval", "export", "report"], "{refused}");
    assert!(
        refused.contains("may be no better than always answering") && refused.ends_with(" (--anyway)\n"),
        "{refused}"
    );
    assert!(!desk.path("out/model.onnx").exists() && desk.path("out/run/report.html").is_file());
    fs::remove_dir_all(desk.path("out")).unwrap();
    let made = desk.short("out", &["--scratch", "--seed=7", "--anyway"]).expect(0);
    let (out, err) = (made.out(), made.err());
    assert_eq!(stages(&err), ["lint", "train", "eval", "export", "report", "verify", "predict"], "{err}");
    assert!(err.contains("$ fieldmark-trainer train birds ") && err.contains(" --seed 7 "), "{err}");
    assert!(out.contains("out/model.onnx works; making it took "), "{out}");
    assert!(out.contains(". Its report is out/run/report.html. Next:\n"), "{out}");
    assert!(out.contains("warning  4 of 4 classes have fewer than 20 pictures"), "{out}");
    assert!(out.contains(" predict out/model.onnx MY_PICTURE.jpg --cues --overlay out/overlay\n"), "{out}");
    let report = fs::read_to_string(desk.path("out/run/report.html")).unwrap();
    assert!(report.contains("its model file is out/model.onnx.") && !report.contains("write its model file"));
    for made in ["run/eval.json", "run/report.html", "model.onnx"] {
        assert!(desk.path("out").join(made).is_file(), "{made}");
    }
    assert_ne!(fs::read_dir(desk.path("out/overlay")).unwrap().count(), 0);
    let model = fs::read(desk.path("out/model.onnx")).unwrap();
    desk.short("out", &["--seed", "7", "--scratch", "--anyway"]).expect(0);
    let inspected =
        finished(program("fieldmark").arg("inspect").arg(desk.path("out/model.onnx"))).expect(0).out();
    assert!(inspected.contains("the model may be no better than always answering"), "{inspected}");
    assert!(fs::read(desk.path("out/model.onnx")).unwrap() == model);
    for words in [
        &["eval", "out"][..],
        &["export", "out", "--out", "again.onnx"],
        &["report", "out", "--out", "again.html"],
        &["report", "out", "--tensorboard", "events"],
        &["unknown", "out"],
        &["train", "birds", "--out", "out"],
    ] {
        let mut command = program("fieldmark-trainer");
        let err = finished(command.current_dir(desk.folder.path()).args(words)).expect(1).err();
        assert!(err.contains("the run is in out/run: name that folder"), "{words:?}: {err}");
    }
    let inspect = finished(program("fieldmark").current_dir(desk.folder.path()).args(["inspect", "out"]));
    let err = inspect.expect(3).err();
    assert!(err.contains("out is not a regular file; name the model file in it, out/model.onnx"), "{err}");
    let other = desk.short("out", &["--seed", "8", "--scratch"]).expect(1).err();
    assert!(other.lines().last().unwrap().starts_with("error: "), "{other}");
}

#[test]
fn what_cannot_be_made_is_said_before_anything_is_written() {
    let desk = Desk::new();
    for (words, code, why) in [
        (&["nowhere"][..], 1, "nowhere does not exist"),
        (&["birds", "--scratch", "--weights=own.pth"], 2, "cannot be used with"),
        (&["birds", "--weights", "missing.pth"], 1, "missing.pth"),
        (&["birds", "--scratch", "--epochs", "many"], 2, "--epochs"),
        (&["birds", "--data", "birds"], 2, "cannot be used with"),
    ] {
        let err = desk.make(["--out", "out"].iter().chain(words)).expect(code).err();
        assert!(err.contains(why), "{words:?}: {err}");
        assert!(!desk.path("out").exists(), "{words:?}");
    }
}

#[test]
fn birds_that_an_earlier_make_drew_otherwise_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let birds = folder.path().join("out/birds");
    fs::create_dir_all(birds.join("images")).unwrap();
    fs::write(birds.join("drawn-by.txt"), "fieldmark-trainer synth --train 1").unwrap();
    let make = |words: &[&str]| {
        let mut make = program("fieldmark-trainer");
        finished(make.arg("make").args(words).arg("--out").arg(folder.path().join("out")))
    };
    let err = make(&["--quick"]).expect(1).err();
    assert!(err.contains("was drawn by `fieldmark-trainer synth --train 1`, now "), "{err}");
    assert!(err.contains("choose another --out or remove it"), "{err}");
}

#[test]
fn birds_are_drawn_by_one_program_at_a_time() {
    let desk = Desk::new();
    fs::create_dir(desk.path("out")).unwrap();
    let lock = fs::File::create(desk.path("out/.birds.lock")).unwrap();
    lock.lock().unwrap();
    let refused = desk.make(["--quick", "--out", "out"]).expect(1).err();
    assert!(refused.contains("another program draws birds in out") && refused.contains("--out"), "{refused}");
    assert!(!desk.path("out/birds").exists());
}
