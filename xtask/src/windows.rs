//! `cargo xtask windows`: both programs for Windows, and under Wine their main job in its short form.
//!
//! They are linked by Debian's MinGW, which needs nothing of Microsoft's. Wine before 9 has no `bcryptprimitives.dll`, which
//! Rust's standard library asks for random numbers; a stand-in lies beside the programs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::process::{Act, run, workspace};
use crate::programs::found;
use crate::toolchain::bring;
use crate::train::{Programs, build};

const TARGET: &str = "x86_64-pc-windows-gnu";

const GCC: &str = "x86_64-w64-mingw32-gcc";

/// The first bird that `make` draws.
const PICTURE: &str = "birds/images/001.Amber_crowned_Warbler/Amber_crowned_Warbler_0001.jpg";

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
    // Debian calls it `wine`, where it is 64 bits alone.
    let wine = options.wine.then(|| found("wine64").or_else(|_| found("wine"))).transpose()?;
    bring(TARGET)?;
    let programs = build(Some(TARGET))?;
    println!("{}\n{}", programs.trainer.display(), programs.board.display());
    let Some(wine) = wine else { return Ok(()) };
    let folder = workspace()?.target.join("windows");
    main_job(&Wine { wine, prefix: folder.join("wine") }, &programs, &folder.join("out"))
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

/// `make` in its short form, and a picture that the model names; what an earlier call made goes first.
fn main_job(wine: &Wine, programs: &Programs, out: &Path) -> Result<()> {
    Act::REAL.remove_folder(out)?;
    // Cargo puts both programs into one folder, where `make` finds the other.
    lay_beside(&programs.trainer)?;
    fs::create_dir_all(&wine.prefix).with_context(|| format!("cannot make {}", wine.prefix.display()))?;
    run(wine.command(&programs.trainer).args(["make", "--quick", "--out"]).arg(out))?;
    let [model, picture] = ["model.onnx", PICTURE].map(|name| out.join(name));
    run(wine.command(&programs.board).arg("predict").args([&model, &picture]).arg("--cues"))
}

/// Puts the stand-in of a Windows library beside a program.
fn lay_beside(program: &Path) -> Result<()> {
    let source = program.with_file_name("bcryptprimitives.c");
    Act::REAL.write(&source, RANDOM_NUMBERS)?;
    let mut gcc = Command::new(GCC);
    gcc.args(["-shared", "-O2", "-o"]).arg(source.with_extension("dll")).arg(&source).arg("-ladvapi32");
    run(&mut gcc)
}
