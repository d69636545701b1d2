//! The pages that programs write: their commands, the recipes, the boards.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use crate::process::{board_program, built, output};
use anyhow::Result;
use fieldmark_boards::{BOARDS, Board, Emulator, Libc, Variant};

/// File names below `docs/src/reference`, and contents.
///
/// # Errors
/// A program does not build, or says nothing.
pub fn written() -> Result<[(&'static str, String); 4]> {
    let (trainer, board) = (built("--bin", "fieldmark-trainer")?, board_program()?);
    Ok([
        ("fieldmark-trainer.md", commands(&trainer, "fieldmark-trainer")?),
        ("fieldmark.md", commands(&board, "fieldmark")?),
        ("recipes.md", recipes(&output(Command::new(&trainer).arg("recipes"))?)),
        ("boards.md", boards()),
    ])
}

/// What the program says of itself and of each of its commands.
fn commands(program: &Path, name: &str) -> Result<String> {
    let help = |command: Option<&str>| {
        // Values that are set here would be printed.
        let here = ["FIELDMARK_LISTEN", "FIELDMARK_TOKEN_FILE"];
        let mut asked = Command::new(program);
        for variable in here {
            asked.env_remove(variable);
        }
        output(asked.args(command).arg("--help"))
    };
    let whole = help(None)?;
    let mut page =
        format!("# Commands of {name}\n\nThis is what `{name} --help` prints.\n\n{}", block(&whole));
    for command in names(&whole) {
        let text = help(Some(command))?;
        let _ = write!(page, "\n## {name} {command}\n\n{}", block(&text));
    }
    Ok(page)
}

/// The commands that a help lists.
fn names(help: &str) -> impl Iterator<Item = &str> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names =
        listed.take_while(|line| line.starts_with("  ")).filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help")
}

fn block(text: &str) -> String {
    let lines: Vec<&str> = text.trim_end().lines().map(str::trim_end).collect();
    format!("```text\n{}\n```\n", lines.join("\n"))
}

fn recipes(table: &str) -> String {
    format!(
        "# Recipes\n\nAll settings of all recipes, as `fieldmark-trainer recipes` prints them. [Choose settings](../guides/settings.md) \
         says what they are for.\n\n{}",
        block(table)
    )
}

fn boards() -> String {
    let mut page = "# Boards\n\nWhat `cargo xtask boards` lists. [Build the program for a board](../guides/boards.md) says how, \
        and [What was tested](../understanding/tested.md) what has passed. Nobody has run it on the boards themselves yet.\n\n\
        | `--board` | what it is | core | usual system |\n|---|---|---|---|\n"
        .to_owned();
    for Board { name, what, core, system: (system, _), .. } in &BOARDS {
        let _ = writeln!(page, "| `{name}` | {what} | {core} | {system} |");
    }
    page += "\n## Programs\n\n| `--board` | bits | target | needs | tested as | largest size in bytes |\n|---|---|---|---|---|---|\n";
    for board in &BOARDS {
        for Variant { bits, triple, libc, emulator, budget, .. } in board.variants {
            let needs = match libc {
                Libc::Glibc((major, minor)) => format!("glibc {major}.{minor} or later"),
                Libc::Musl => "nothing: it is static".to_owned(),
            };
            let core = emulator.map_or("this machine".to_owned(), |Emulator { program, cpu }| {
                format!("{program} -cpu {cpu}")
            });
            let _ = writeln!(page, "| `{}` | {bits} | {triple} | {needs} | {core} | {budget} |", board.name);
        }
    }
    page += "\n## Why so\n\n| `--board` | why |\n|---|---|\n";
    for Board { name, why, .. } in &BOARDS {
        let _ = writeln!(page, "| `{name}` | {why} |");
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_those_that_a_help_lists() {
        let help = "Says things.\n\nUsage: p <COMMAND>\n\nCommands:\n  one  First\n  two  Second\n  help  Print\n\nOptions:\n  -h\n";
        assert_eq!(names(help).collect::<Vec<_>>(), ["one", "two"]);
    }

    #[test]
    fn every_board_has_its_rows() {
        let page = boards();
        for board in &BOARDS {
            let rows = page.lines().filter(|line| line.starts_with(&format!("| `{}` |", board.name))).count();
            assert_eq!(rows, 2 + board.variants.len(), "{}", board.name);
        }
    }
}
