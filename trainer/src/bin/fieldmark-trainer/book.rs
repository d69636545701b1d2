//! What the book tells to type is what this program takes.

use clap::Parser;

use crate::args::Cli;

#[path = "../../../../docs/commands.rs"]
mod commands;

#[test]
fn every_command_of_the_book_can_be_typed() {
    let commands = commands::commands("fieldmark-trainer");
    assert!(commands.len() > 20, "only {} commands were found", commands.len());
    for (place, words) in commands {
        // `--help` and `--version` end a program, too.
        let error = Cli::try_parse_from(&words).err().filter(clap::Error::use_stderr);
        assert!(error.is_none(), "{place}: {}\n{}", words.join(" "), error.unwrap());
    }
}
