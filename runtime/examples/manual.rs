//! Writes the program's manual pages and shell completions, made of its own command line, into a folder:
//! `cargo xtask dist` packs them.

#[allow(dead_code, reason = "the command line alone is wanted, not what it loads")]
#[path = "../src/bin/fieldmark/args.rs"]
mod args;

use std::env;

use anyhow::{Context, Result};
use clap::CommandFactory;
use clap_complete::Shell;

fn main() -> Result<()> {
    let folder = env::args_os().nth(1).context("type a folder")?;
    let mut command = args::Cli::command().disable_help_subcommand(true);
    clap_mangen::generate_to(command.clone(), &folder).context("manual pages")?;
    for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
        clap_complete::generate_to(shell, &mut command, "fieldmark", &folder).context("completions")?;
    }
    Ok(())
}
