//! Writes the trainer's manual pages and shell completions, made of its own command line, into a folder:
//! `cargo xtask dist` packs them.

/// Inline, so that the modules inside of `args` are found where the program finds them.
#[allow(dead_code, unused_imports, reason = "the command line alone is wanted, not what it means")]
#[path = "../src/bin/fieldmark-trainer"]
mod program {
    pub mod args;
}

use std::env;

use anyhow::{Context, Result};
use clap_complete::Shell;

fn main() -> Result<()> {
    let folder = env::args_os().nth(1).context("type a folder")?;
    let mut command = program::args::command().disable_help_subcommand(true);
    clap_mangen::generate_to(command.clone(), &folder).context("manual pages")?;
    for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
        clap_complete::generate_to(shell, &mut command, "fieldmark-trainer", &folder)
            .context("completions")?;
    }
    Ok(())
}
