//! `cargo xtask windows`: both programs for Windows, and under Wine their main job in its short form.
//!
//! They are linked by Debian's MinGW, which needs nothing of Microsoft's. Wine before 9 has no `bcryptprimitives.dll`, which
//! Rust's standard library asks for random numbers; a stand-in lies beside the programs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::process::{Act, cargo, line, output, program, run, workspace};
use crate::programs::found;
use crate::toolchain::{Origin, origin};

const TARGET: &str = "x86_64-pc-windows-gnu";

const GCC: &str = "x86_64-w64-mingw32-gcc";

const RANDOM_NUMBERS: &str = include_str!("windows/bcryptprimitives.c");

/// What can be chosen.
#[derive(Args)]
pub struct Options {
    /// Run the programs under Wine: birds drawn, trained on, measured, exported, and named by the model
    #[arg(long)]
    wine: bool,
}

/// Builds both programs, prints where they are, and runs them if that is wanted.
///
/// # Errors
/// What is missing, with what brings it; or the step that failed.
pub fn windows(options: &Options) -> Result<()> {
    found(GCC)?;
    let wine = options.wine.then(|| found("wine64")).transpose()?;
    let programs = build()?;
    println!("{}\n{}", programs.trainer.display(), programs.board.display());
    let Some(wine) = wine else { return Ok(()) };
    let folder = workspace()?.target.join("windows");
    main_job(&Wine { wine, prefix: folder.join("wine") }, &programs, &folder.join("out"))
}

/// Where cargo put the two programs.
struct Programs {
    trainer: PathBuf,
    board: PathBuf,
}

fn build() -> Result<Programs> {
    if !matches!(origin(&Act::REAL, TARGET)?, Some(Origin::Installed | Origin::Rustup)) {
        bail!("no standard library for {TARGET}; bring it with: rustup target add {TARGET}");
    }
    let mut build = cargo();
    build.args([
        "build",
        "--workspace",
        "--bin",
        "fieldmark-trainer",
        "--bin",
        "fieldmark",
        "--target",
        TARGET,
    ]);
    eprintln!("$ {}", line(&build));
    let artefacts = output(build.args(["--message-format", "json-render-diagnostics"]))?;
    let program = |name| program(&artefacts, name);
    Ok(Programs { trainer: program("fieldmark-trainer")?, board: program("fieldmark")? })
}

/// Wine, with a system of its own.
struct Wine {
    wine: PathBuf,
    /// Where that system is; made at the first start.
    prefix: PathBuf,
}

impl Wine {
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(&self.wine);
        command.arg(program).env("WINEPREFIX", &self.prefix);
        // Of what Wine itself has to say, only what it could not do.
        command.env("WINEDEBUG", "fixme-all");
        command
    }
}

/// From drawn birds to a picture that is named; what an earlier call made goes first.
fn main_job(wine: &Wine, programs: &Programs, out: &Path) -> Result<()> {
    Act::REAL.remove_folder(out)?;
    for program in [&programs.trainer, &programs.board] {
        lay_beside(program)?;
    }
    fs::create_dir_all(&wine.prefix).with_context(|| format!("cannot make {}", wine.prefix.display()))?;
    let [birds, run_folder, model] = ["birds", "run", "model.onnx"].map(|name| out.join(name));
    let trainer = || wine.command(&programs.trainer);
    let board = || wine.command(&programs.board);
    run(trainer().args(["synth", "--train", "8", "--test", "4", "--side", "96"]).arg(&birds))?;
    let short = ["--epochs", "2", "--side", "96", "--batch", "16"];
    run(trainer().arg("train").arg(&birds).args(short).arg("--out").arg(&run_folder))?;
    run(trainer().arg("eval").arg(&run_folder).arg("--data").arg(&birds))?;
    run(trainer().arg("report").arg(&run_folder).arg("--data").arg(&birds))?;
    let export = ["export".as_ref(), run_folder.as_os_str(), "--data".as_ref(), birds.as_os_str()];
    run(trainer().args(export).args(["--pictures", "20", "--out"]).arg(&model))?;
    run(board().arg("verify").arg(&model))?;
    let picture = first_picture(&birds)?;
    run(board()
        .arg("predict")
        .args([&model, &picture])
        .args(["--cues", "--overlay"])
        .arg(out.join("overlay")))
}

/// Puts the stand-in of a Windows library beside a program.
fn lay_beside(program: &Path) -> Result<()> {
    let source = program.with_file_name("bcryptprimitives.c");
    Act::REAL.write(&source, RANDOM_NUMBERS)?;
    let mut gcc = Command::new(GCC);
    gcc.args(["-shared", "-O2", "-o"]).arg(source.with_extension("dll")).arg(&source).arg("-ladvapi32");
    run(&mut gcc)
}

fn first_picture(birds: &Path) -> Result<PathBuf> {
    let first = |folder: &Path| {
        let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
        let least = entries.filter_map(|entry| Some(entry.ok()?.path())).min();
        least.with_context(|| format!("{} is empty", folder.display()))
    };
    first(&first(&birds.join("images"))?)
}
