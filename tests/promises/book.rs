//! Every command of the book that a test can run does: page by page, each in an empty folder, as a reader types it.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use crate::program::{SHORT, finished, program, trained};

#[path = "../../docs/commands.rs"]
mod commands;

/// The folder that holds `birds`, a short `run` on them and its `model.onnx`, for what pages presume.
const BOOK: &str = "BOOK";

#[test]
fn every_command_of_the_book_does_what_the_page_says() {
    let book = tempfile::tempdir().unwrap();
    trained(book.path());
    let mut pages_run = 0;
    for page in commands::pages() {
        let blocks = commands::blocks(&page).into_iter().filter(|block| block.is_run);
        let lines: Vec<String> = blocks.flat_map(|block| block.lines).map(|line| shortened(&line)).collect();
        if lines.is_empty() {
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        let mut shell = Command::new("bash");
        shell.args(["-euxo", "pipefail", "-c", &lines.join("\n")]).current_dir(folder.path());
        finished(shell.env("PATH", path()).env(BOOK, book.path())).expect(0);
        pages_run += 1;
    }
    assert!(pages_run > 8, "only {pages_run} pages have commands that run");
}

/// The programs of this workspace before all others.
fn path() -> OsString {
    let program = program("fieldmark");
    let ours = Path::new(program.get_program()).parent().expect("a folder").to_owned();
    let others = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths([ours].into_iter().chain(std::env::split_paths(&others))).unwrap()
}

/// A line that takes seconds: the same command, with less to do.
fn shortened(line: &str) -> String {
    let line = with(line, "fieldmark-trainer make", &["--quick"]);
    let line = with(&line, "fieldmark bench", &["--seconds", "1"]);
    with(&line, "fieldmark-trainer train", &SHORT)
}

/// A line with these options right after `start`, instead of what it says of them.
fn with(line: &str, start: &str, options: &[&str]) -> String {
    let Some((before, after)) = line.split_once(start) else { return line.to_owned() };
    let mut after = after.to_owned();
    for option in options.iter().filter(|word| word.starts_with("--")) {
        if let Some((kept, rest)) = after.split_once(&format!(" {option} ")) {
            let (_, rest) = rest.split_once(' ').unwrap_or((rest, ""));
            after = format!("{kept} {rest}");
        }
    }
    format!("{before}{start} {}{after}", options.join(" "))
}

#[test]
fn a_shortened_line_says_each_option_once() {
    let line =
        with("a && fieldmark bench m --seconds 120 --format json", "fieldmark bench", &["--seconds", "1"]);
    assert_eq!(line, "a && fieldmark bench --seconds 1 m --format json");
    assert_eq!(shortened("fieldmark predict m.onnx a.jpg"), "fieldmark predict m.onnx a.jpg");
}
