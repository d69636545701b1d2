//! `cargo xtask bare-metal`: the example `marks` on an emulated Cortex-M4, compared with this machine's answer.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::Value;

use crate::no_std::for_target;
use crate::process::{Workspace, board_program, built, cargo, line, output, program, workspace};
use crate::programs::found;

/// With floating point, as the example's `memory.x` has it.
const TARGET: &str = "thumbv7em-none-eabihf";
const MACHINE: &str = "mps2-an386";

const EXAMPLE: &str = "runtime/examples/marks/cortex-m/Cargo.toml";

/// Ample for an emulator; a program that waits for ever is stopped.
const SECONDS: &str = "120";

/// What can be chosen.
#[derive(Args)]
pub struct Options {
    /// Model file whose head is a group head
    model: PathBuf,
    /// Picture whose maps are read
    picture: PathBuf,
}

/// Runs the example on both machines from the same two files.
///
/// # Errors
/// A missing emulator or target, a step that failed, other answers.
pub fn bare_metal(options: &Options) -> Result<()> {
    let emulator = found("qemu-system-arm")?;
    let workspace = workspace()?;
    let device = device_program(&workspace)?;
    let (board, host) = (board_program()?, built("--example", "marks")?);
    let folder = workspace.target.join("bare-metal/files");
    let size = write_files(options, &board, &folder)?;
    let here = said(Command::new(&host).args(&size).current_dir(&folder))?;
    let there = said(&mut emulated(&emulator, &device, &size, &folder))?;
    ensure!(
        here == there,
        "the emulated Cortex-M4 answers otherwise than this machine.\nHere:\n{here}\nThere:\n{there}"
    );
    print!("{there}");
    eprintln!("a Cortex-M4 without an operating system says the same, letter by letter");
    Ok(())
}

/// The program for the microcontroller.
fn device_program(workspace: &Workspace) -> Result<PathBuf> {
    let mut build = cargo();
    build.current_dir(&workspace.root);
    build.args(["build", "--release", "--locked", "--manifest-path", EXAMPLE, "--target-dir"]);
    build.arg(workspace.target.join("bare-metal"));
    build.args(["--message-format", "json-render-diagnostics"]);
    let mut build = for_target(build, TARGET)?.with_context(|| {
        format!(
            "nothing to build for {TARGET} with: rustup target add {TARGET}, or rustup component add rust-src"
        )
    })?;
    program(&said(&mut build)?, "marks-cortex-m")
}

/// Writes what both machines read; returns the picture's width and height.
fn write_files(options: &Options, board: &Path, folder: &Path) -> Result<[String; 2]> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let Options { model, picture, .. } = options;
    let [description, maps] = ["model.json", "maps.f16"].map(|name| folder.join(name));
    said(Command::new(board).arg("inspect").arg(model).arg("--description").arg(description))?;
    let mut predict = Command::new(board);
    predict.arg("predict").args([model, picture]).args(["--format", "jsonl", "--maps-type", "f16", "--maps"]);
    let record: Value = serde_json::from_str(&said(predict.arg(maps))?).context("predict's record")?;
    Ok(["width", "height"].map(|side| record[side].to_string()))
}

/// The program under the emulator, which lends it the folder's files and this terminal.
fn emulated(emulator: &Path, device: &Path, size: &[String; 2], folder: &Path) -> Command {
    let mut command = Command::new("timeout");
    command.arg(SECONDS).arg(emulator).args(["-machine", MACHINE]);
    command.args(["-display", "none", "-monitor", "none", "-serial", "none", "-chardev", "stdio,id=text"]);
    command.args(["-semihosting-config", "enable=on,target=native,chardev=text", "-kernel"]);
    command.arg(device).arg("-append").arg(size.join(" "));
    command.current_dir(folder).stdin(Stdio::null());
    command
}

fn said(command: &mut Command) -> Result<String> {
    eprintln!("$ {}", line(command));
    output(command)
}
