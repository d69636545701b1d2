//! `cargo xtask train-and-export`: both programs built in one go, then `fieldmark-trainer make`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use clap::Args;

use crate::process::{cargo, line, output, program, run};

/// What can be chosen.
#[derive(Args)]
pub struct Options {
    /// For `fieldmark-trainer make`, `--help` among them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
}

/// Builds both programs, and hands the words on.
///
/// # Errors
/// They do not build, or `make` fails.
pub fn train_and_export(options: &Options) -> Result<()> {
    let mut words = options.words.clone();
    // It stood between this command's options and training's.
    if let Some(at) = words.iter().position(|word| word == "--") {
        words.remove(at);
    }
    run(Command::new(build(None)?.trainer).arg("make").args(words))
}

/// Where cargo put the two programs.
pub struct Programs {
    /// `fieldmark-trainer`.
    pub trainer: PathBuf,
    /// `fieldmark`.
    pub board: PathBuf,
}

/// Builds both programs in one go, for this machine or for a target, and asks cargo where it put them.
///
/// # Errors
/// They do not build.
pub fn build(target: Option<&str>) -> Result<Programs> {
    let mut build = cargo();
    // Of the whole workspace: of some packages cargo would resolve other features, and compile tract again.
    build.args(["build", "--workspace", "--bin", "fieldmark-trainer", "--bin", "fieldmark"]);
    if let Some(target) = target {
        build.args(["--target", target]);
    }
    eprintln!("$ {}", line(&build));
    let artefacts = output(build.args(["--message-format", "json-render-diagnostics"]))?;
    let program = |name| program(&artefacts, name);
    Ok(Programs { trainer: program("fieldmark-trainer")?, board: program("fieldmark")? })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    #[command(disable_help_flag = true)]
    struct Cli {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn words_are_handed_on_as_they_are() {
        for words in
            [vec![], vec!["--help"], vec!["photos", "--weights=a b", "-x"], vec!["--quick", "--out", "o"]]
        {
            let cli = Cli::try_parse_from(["xtask"].iter().chain(&words)).unwrap();
            assert_eq!(cli.options.words, words);
        }
    }
}
