//! What the book tells to type is what this program takes.

use clap::Parser;

use crate::Cli;

#[path = "../../../docs/commands.rs"]
mod commands;

#[test]
fn every_command_of_the_book_can_be_typed() {
    let commands = commands::commands("cargo xtask");
    assert!(commands.len() > 10, "only {} commands were found", commands.len());
    for (place, words) in commands {
        let error = Cli::try_parse_from(&words).err().filter(clap::Error::use_stderr);
        assert!(error.is_none(), "{place}: {}\n{}", words.join(" "), error.unwrap());
    }
}
