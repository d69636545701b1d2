//! However a run is stopped, one line says why and what to do, the last checkpoint is whole, and the same command ends in
//! the same bits as a run that nothing stopped.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::program::{birds, program, run};
use crate::resume::{arguments, hashes, metrics};

/// Starts the run in `out` and waits until it has said that `step` is saved.
fn started(step: usize, birds: &Path, out: &Path) -> (Child, BufReader<impl Read>) {
    let mut child =
        program("fieldmark-trainer").args(arguments(birds, out)).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while line != format!("saved after step {step}\n") {
        line.clear();
        assert_ne!(said.read_line(&mut line).unwrap(), 0, "the run ended without saving step {step}");
    }
    (child, said)
}

/// The code that the program ends with, and what else it says.
fn ended(mut child: Child, mut said: impl Read) -> (Option<i32>, String) {
    let mut text = String::new();
    said.read_to_string(&mut text).unwrap();
    (child.wait().unwrap().code(), text)
}

/// The command of a run under a shell's limit.
fn limited(limit: &str, birds: &Path, out: &Path) -> Command {
    let mut shell = Command::new("sh");
    let script = format!("{limit}; exec \"$0\" \"$@\"");
    shell.args(["-c", &script]).arg(program("fieldmark-trainer").get_program()).args(arguments(birds, out));
    shell
}

/// The same command, unhindered, and its result beside that of a run that was never stopped.
#[track_caller]
fn expect_the_same_bits(birds: &Path, out: &Path) {
    let whole = out.with_extension("whole");
    run("fieldmark-trainer", arguments(birds, &whole)).expect(0);
    run("fieldmark-trainer", arguments(birds, out)).expect(0);
    assert_eq!(hashes(out), hashes(&whole));
    assert_eq!(metrics(out), metrics(&whole));
}

/// The last checkpoint, byte for byte.
fn last(out: &Path) -> Vec<u8> {
    fs::read(out.join("last.safetensors")).unwrap()
}

/// Leaves a run in `out` that was killed in the middle.
fn killed(birds: &Path, out: &Path) {
    loop {
        let (mut child, _) = started(2, birds, out);
        child.kill().unwrap();
        if !child.wait().unwrap().success() {
            return;
        }
        // It was faster than the kill.
        fs::remove_dir_all(out).unwrap();
    }
}

/// A run that waits in the middle of reading one of its files, however fast it is.
struct Held<R> {
    child: Child,
    said: BufReader<R>,
    pipe: File,
    content: Vec<u8>,
}

/// Starts a run that goes on from what is in `out`, and holds it where it reads `file`.
fn held(mut command: Command, out: &Path, file: &str) -> Held<impl Read> {
    let file = out.join(file);
    let content = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let said = BufReader::new(child.stderr.take().unwrap());
    // Opens as soon as the run opens the other end, which then reads until this one is closed.
    let pipe = File::options().write(true).open(&file).unwrap();
    fs::remove_file(&file).unwrap();
    fs::write(&file, &content).unwrap();
    Held { child, said, pipe, content }
}

impl<R: Read> Held<R> {
    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Sends a signal, and waits until the run has heard it.
    fn ask(&mut self, signal: &str) {
        self.signal(signal);
        let mut line = String::new();
        while !line.starts_with("stopping") {
            line.clear();
            assert_ne!(self.said.read_line(&mut line).unwrap(), 0, "the run ended without a word");
        }
    }

    /// Lets it read on; its exit code, and what else it says.
    fn let_go(mut self) -> (Option<i32>, String) {
        self.pipe.write_all(&self.content).unwrap();
        drop(self.pipe);
        ended(self.child, self.said)
    }
}

fn trains(birds: &Path, out: &Path) -> Command {
    let mut command = program("fieldmark-trainer");
    command.args(arguments(birds, out));
    command
}

#[test]
fn a_run_that_is_asked_to_stop_does_one_step_more_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let birds = birds(folder.path());
    let out = folder.path().join("run");
    killed(&birds, &out);
    let (mut before, mut signals) = (String::new(), [("-INT", 130), ("-TERM", 143)].into_iter().cycle());
    // Until one is stopped twice at the same step: at an epoch's end, where it validates.
    loop {
        let (signal, code) = signals.next().unwrap();
        let mut held = held(trains(&birds, &out), &out, "metrics.jsonl");
        held.ask(signal);
        let (actual, text) = held.let_go();
        assert_eq!(actual, Some(code), "{text}");
        let last = text.lines().last().unwrap();
        assert!(last.ends_with("saved; the same command resumes the run"), "{text}");
        if last == before {
            break;
        }
        before = last.to_owned();
    }
    expect_the_same_bits(&birds, &out);
}

#[test]
fn a_run_that_is_asked_twice_ends_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let birds = birds(folder.path());
    let out = folder.path().join("run");
    killed(&birds, &out);
    let before = last(&out);
    let mut held = held(trains(&birds, &out), &out, "metrics.jsonl");
    held.ask("-INT");
    held.signal("-INT");
    let (code, text) = ended(held.child, held.said);
    assert_eq!((code, text.as_str()), (Some(130), ""));
    assert!(last(&out) == before);
    expect_the_same_bits(&birds, &out);
}

#[test]
fn a_run_that_is_asked_to_stop_while_it_first_reads_pictures_leaves_the_rest_unread() {
    let folder = tempfile::tempdir().unwrap();
    let birds = birds(folder.path());
    let out = folder.path().join("run");
    killed(&birds, &out);
    let before = last(&out);
    let mut held = held(trains(&birds, &out), &out, "config.json");
    held.ask("-TERM");
    let (code, text) = held.let_go();
    assert_eq!(code, Some(143), "{text}");
    let said: Vec<&str> = text.lines().collect();
    let stopped = "stopped while the pictures were first read; the same command starts the run";
    assert!(said[0].starts_with("resumes after ") && said[1..] == [stopped], "{text}");
    assert!(last(&out) == before);
    expect_the_same_bits(&birds, &out);
}

#[test]
fn a_make_that_is_asked_to_stop_in_its_training_is_finished_by_the_same_command() {
    let folder = tempfile::tempdir().unwrap();
    let birds = birds(folder.path());
    let out = folder.path().join("made");
    let run = out.join("run");
    killed(&birds, &run);
    let make = || {
        let mut make = program("fieldmark-trainer");
        make.arg("make").arg(&birds).arg("--out").arg(&out).args(["--scratch", "--anyway"]);
        make.args(&arguments(&birds, &run)[4..]);
        make
    };
    let mut held = held(make(), &run, "metrics.jsonl");
    held.ask("-INT");
    let (code, text) = held.let_go();
    assert_eq!(code, Some(130), "{text}");
    assert!(!out.join("model.onnx").exists());
    assert_eq!(make().output().unwrap().status.code(), Some(0));
    assert!(out.join("model.onnx").exists());
    expect_the_same_bits(&birds, &run);
}

#[cfg(target_os = "linux")]
#[test]
fn a_closed_terminal_stops_a_run_unless_it_was_started_to_outlive_it() {
    let folder = tempfile::tempdir().unwrap();
    let birds = birds(folder.path());
    let out = folder.path().join("run");
    killed(&birds, &out);
    // Whatever these tests were started with.
    let mut command = Command::new("env");
    command.arg("--default-signal=HUP").arg(trains(&birds, &out).get_program()).args(arguments(&birds, &out));
    let mut stopped = held(command, &out, "metrics.jsonl");
    stopped.ask("-HUP");
    stopped.signal("-HUP");
    let (code, text) = stopped.let_go();
    assert_eq!(code, Some(129), "{text}");
    assert!(text.lines().last().unwrap().ends_with("saved; the same command resumes the run"), "{text}");
    let outlives = held(limited("trap '' HUP", &birds, &out), &out, "metrics.jsonl");
    outlives.signal("-HUP");
    let (code, text) = outlives.let_go();
    assert_eq!(code, Some(0), "{text}");
    expect_the_same_bits(&birds, &out);
}

#[test]
fn a_run_lives_without_the_lines_of_earlier_epochs_and_tells_damage() {
    let folder = tempfile::tempdir().unwrap();
    let birds = birds(folder.path());
    let out = folder.path().join("run");
    killed(&birds, &out);
    let split = out.join("split.json");
    let whole = fs::read_to_string(&split).unwrap();
    for damaged in [&whole[..whole.len() / 2], "{]"] {
        fs::write(&split, damaged).unwrap();
        let refused = run("fieldmark-trainer", arguments(&birds, &out)).expect(1).err();
        assert!(refused.contains("split.json") && refused.contains("it is damaged"), "{refused}");
    }
    fs::write(&split, whole).unwrap();
    fs::remove_file(out.join("metrics.jsonl")).unwrap();
    run("fieldmark-trainer", arguments(&birds, &out)).expect(0);
    assert!(!metrics(&out).is_empty());
}

#[test]
fn a_full_disk_leaves_the_last_checkpoint_whole() {
    let folder = tempfile::tempdir().unwrap();
    let birds = birds(folder.path());
    let out = folder.path().join("run");
    killed(&birds, &out);
    let before = last(&out);
    // Files may grow to 64 KiB at most; without the trap the system would end the program itself.
    let full = limited("trap '' XFSZ; ulimit -f 128", &birds, &out).output().unwrap();
    let said = String::from_utf8(full.stderr).unwrap();
    assert_eq!(full.status.code(), Some(1), "{said}");
    let error = said.lines().last().unwrap();
    assert!(error.contains("last.safetensors") && error.contains("make room"), "{said}");
    assert!(last(&out) == before);
    let is_leftover = |name: &std::ffi::OsStr| name.to_string_lossy().ends_with(".part");
    assert!(!fs::read_dir(&out).unwrap().any(|entry| is_leftover(&entry.unwrap().file_name())));
    // The same without a word from the program: the system ends it in the middle of the write.
    let killed = limited("ulimit -f 128", &birds, &out).output().unwrap();
    assert_eq!(killed.status.code(), None);
    assert!(last(&out) == before);
    expect_the_same_bits(&birds, &out);
}

#[test]
fn a_folder_deleted_in_the_middle_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let birds = birds(folder.path());
    let out = folder.path().join("run");
    let (child, said) = started(1, &birds, &out);
    fs::rename(&out, folder.path().join("moved")).unwrap();
    let (code, text) = ended(child, said);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.lines().last().unwrap().contains("its folder is gone"), "{text}");
    fs::rename(folder.path().join("moved"), &out).unwrap();
    expect_the_same_bits(&birds, &out);
}

#[cfg(target_os = "linux")]
#[test]
fn a_run_that_cannot_fit_into_memory_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let birds = birds(folder.path());
    let out = folder.path().join("run");
    let command = limited("ulimit -v 4000000", &birds, &out);
    let large = |arg: &'_ std::ffi::OsStr| if arg == "32" { "4096".into() } else { arg.to_owned() };
    let refused = Command::new("sh").args(command.get_args().map(large)).output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(
        said.lines().last().unwrap().contains("choose a smaller batch or side (--batch, --side)"),
        "{said}"
    );
    assert!(!out.exists());
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_stderr_does_not_end_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let birds = birds(folder.path());
    let out = folder.path().join("run");
    let full = File::options().write(true).open("/dev/full").unwrap();
    let status = program("fieldmark-trainer").args(arguments(&birds, &out)).stderr(full).status().unwrap();
    assert_eq!(status.code(), Some(0));
    assert_eq!(metrics(&out).len(), 2);
}
