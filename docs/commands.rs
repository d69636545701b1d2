//! The commands of `README.md` and the book, for the tests that run them and read them.
//!
//! Every block of shell lines says what tests do with it. ` ```sh run ` is run: all such blocks of a page in their order, in
//! an empty folder, after what stands between `<!-- sh run` and `-->` for what a page presumes. ` ```sh parse ` cannot be run
//! in a test (it needs a board, a GPU, a network, a clone); like the others, its commands are read by the programs' own parsers.

#![allow(dead_code, reason = "each test takes what it needs")]

use std::fs;
use std::path::{Path, PathBuf};

/// Some lines of a page.
pub struct Block {
    /// Whether tests run it.
    pub is_run: bool,
    /// Page, and line of the first of `lines`.
    pub place: String,
    /// As they stand.
    pub lines: Vec<String>,
}

/// How a line begins that somebody would type.
const PROGRAMS: [&str; 4] = ["fieldmark ", "fieldmark-trainer ", "cargo ", "target/"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All pages, as paths in the repository.
pub fn pages() -> Vec<PathBuf> {
    let mut pages = vec![PathBuf::from("README.md")];
    let mut folders = vec![PathBuf::from("docs/src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).expect("the book is there") {
            let path = folder.join(entry.expect("an entry").file_name());
            if root().join(&path).is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "md") {
                pages.push(path);
            }
        }
    }
    pages.sort();
    pages
}

/// A page's blocks of shell lines.
///
/// # Panics
/// A block without a marker, with another one, or without an end; a command in an indented block, which has no marker.
pub fn blocks(page: &Path) -> Vec<Block> {
    let text = fs::read_to_string(root().join(page)).expect("the page is there");
    blocks_of(&text, &page.display().to_string())
}

fn blocks_of(text: &str, page: &str) -> Vec<Block> {
    let (mut blocks, mut numbered) = (Vec::new(), text.lines().zip(1..));
    while let Some((line, number)) = numbered.next() {
        let (info, end) = match line.trim_start() {
            line if line.starts_with("<!-- sh") => (line.trim_start_matches("<!-- "), "-->"),
            line if line.starts_with("```") => (line.trim_start_matches('`'), "```"),
            command => {
                let is_command = PROGRAMS.iter().any(|program| command.starts_with(program));
                assert!(
                    !(is_command && line.starts_with("    ")),
                    "{page}:{number}: put commands between ```sh run and ```"
                );
                continue;
            }
        };
        let place = format!("{page}:{}", number + 1);
        let mut lines = Vec::new();
        loop {
            let (line, _) = numbered.next().unwrap_or_else(|| panic!("{place}: the block has no end"));
            if line.trim() == end {
                break;
            }
            lines.push(line.to_owned());
        }
        match info {
            "sh run" => blocks.push(Block { is_run: true, place, lines }),
            "sh parse" => blocks.push(Block { is_run: false, place, lines }),
            "text" | "json" | "toml" | "ini" | "rust" => {}
            other => panic!(
                "{place}: a block says {other:?}; write sh run, sh parse, text, json, toml, ini or rust"
            ),
        }
    }
    blocks
}

/// Every command of all pages that starts `program` (`fieldmark`, or `cargo xtask`): where it stands, and its words.
pub fn commands(program: &str) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    for block in pages().iter().flat_map(|page| blocks(page)) {
        let text = block.lines.join("\n").replace("\\\n", " ");
        for words in simple_commands(&text) {
            found.extend(started(words, program).map(|words| (block.place.clone(), words)));
        }
    }
    found
}

/// The words from the program on, behind assignments and what else starts programs.
fn started(mut words: Vec<String>, program: &str) -> Option<Vec<String>> {
    loop {
        let skipped = match words.first()?.as_str() {
            "sudo" | "cuda-dist/run" => 1,
            "ssh" => 2,
            word if word.contains('=') => 1,
            _ => break,
        };
        words.drain(..skipped.min(words.len()));
    }
    if words.len() > 1 && words[0] == "cargo" && words[1] == "xtask" {
        words.splice(..2, ["cargo xtask".to_owned()]);
    }
    let name = words[0].rsplit('/').next()?;
    (name == program).then_some(words)
}

/// A shell's commands, each in words, without redirections and comments.
fn simple_commands(text: &str) -> Vec<Vec<String>> {
    let (mut commands, mut words) = (vec![], vec![]);
    let (mut word, mut quote) = (None::<String>, None);
    let mut characters = text.chars().chain(['\n']).peekable();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some(open), _) if character == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => while characters.next_if(|next| *next != '\n').is_some() {},
            (None, ' ' | '\n' | '|' | ';' | '&' | '<' | '>') => {
                words.extend(word.take());
                match character {
                    ' ' => {}
                    // What follows is a file.
                    '<' | '>' => words.push(">".to_owned()),
                    _ => commands.push(std::mem::take(&mut words)),
                }
            }
            _ => word.get_or_insert_default().push(character),
        }
    }
    commands.iter_mut().for_each(without_redirections);
    commands.retain(|words| !words.is_empty());
    commands
}

fn without_redirections(words: &mut Vec<String>) {
    while let Some(at) = words.iter().position(|word| word == ">") {
        words.drain(at..(at + 2).min(words.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_a_shells() {
        let text = "A=1 fieldmark predict 'a b' --top 3 > x # no\ncat a | sudo ./fieldmark verify m && ssh u@h fieldmark bench m";
        let of = |words: Vec<String>| started(words, "fieldmark");
        let found: Vec<_> =
            simple_commands(text).into_iter().filter_map(of).map(|words| words.join("|")).collect();
        assert_eq!(found, ["fieldmark|predict|a b|--top|3", "./fieldmark|verify|m", "fieldmark|bench|m"]);
        let xtask = started(vec!["cargo".into(), "xtask".into(), "ci".into()], "cargo xtask");
        assert_eq!(xtask.unwrap(), ["cargo xtask", "ci"]);
    }

    #[test]
    #[should_panic(expected = "page:2: a block says \"sh\"")]
    fn no_block_is_without_a_marker() {
        blocks_of("```sh\nfieldmark verify m\n```\n", "page");
    }
}
