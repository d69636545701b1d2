//! However a run is stopped, one line says why and what to do, the last checkpoint is whole, and the same command ends in
//! the same bits as a run that nothing stopped.

use std::io::{BufRead, BufReader, Read};
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

#[test]
fn a_run_that_is_asked_to_stop_saves_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let birds = birds(folder.path());
    let out = folder.path().join("run");
    // Ctrl-C in the first epoch, `kill` at its end.
    for (step, signal, code) in [(2, "-INT", 130), (6, "-TERM", 143)] {
        let (child, said) = started(step, &birds, &out);
        Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        let (actual, text) = ended(child, said);
        assert_eq!(actual, Some(code), "{text}");
        let last = text.lines().last().unwrap();
        assert!(last.ends_with("saved; the same command goes on"), "{text}");
    }
    expect_the_same_bits(&birds, &out);
}

#[test]
fn a_full_disk_leaves_the_last_checkpoint_whole() {
    let folder = tempfile::tempdir().unwrap();
    let birds = birds(folder.path());
    let out = folder.path().join("run");
    let (mut child, _) = started(2, &birds, &out);
    child.kill().unwrap();
    child.wait().unwrap();
    let last = out.join("last.safetensors");
    let before = std::fs::read(&last).unwrap();
    // Files may grow to 64 KiB at most; without the trap the system would end the program itself.
    let full = limited("trap '' XFSZ; ulimit -f 128", &birds, &out).output().unwrap();
    let said = String::from_utf8(full.stderr).unwrap();
    assert_eq!(full.status.code(), Some(1), "{said}");
    let error = said.lines().last().unwrap();
    assert!(error.contains("last.safetensors") && error.contains("make room"), "{said}");
    assert!(std::fs::read(&last).unwrap() == before);
    let is_leftover = |name: &std::ffi::OsStr| name.to_string_lossy().ends_with(".part");
    assert!(!std::fs::read_dir(&out).unwrap().any(|entry| is_leftover(&entry.unwrap().file_name())));
    // The same without a word from the program: the system ends it in the middle of the write.
    let killed = limited("ulimit -f 128", &birds, &out).output().unwrap();
    assert_eq!(killed.status.code(), None);
    assert!(std::fs::read(&last).unwrap() == before);
    expect_the_same_bits(&birds, &out);
}

#[test]
fn a_folder_deleted_in_the_middle_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let birds = birds(folder.path());
    let out = folder.path().join("run");
    let (child, said) = started(1, &birds, &out);
    std::fs::rename(&out, folder.path().join("moved")).unwrap();
    let (code, text) = ended(child, said);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.lines().last().unwrap().contains("its folder is gone"), "{text}");
    std::fs::rename(folder.path().join("moved"), &out).unwrap();
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
    assert!(said.lines().last().unwrap().contains("choose a smaller --batch or --side"), "{said}");
    assert!(!out.exists());
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_stderr_does_not_end_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let birds = birds(folder.path());
    let out = folder.path().join("run");
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let status = program("fieldmark-trainer").args(arguments(&birds, &out)).stderr(full).status().unwrap();
    assert_eq!(status.code(), Some(0));
    assert_eq!(metrics(&out).len(), 2);
}
